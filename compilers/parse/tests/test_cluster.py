"""Clusters from files: which documents count, and what an API server would have filled in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.cluster import NAME_LABEL
from compilers.parse.cluster import ParsedCluster, parse_cluster
from compilers.parse.source import Document, read_documents
from compilers.parse.tests.trees import JSON

FILES = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: Node
metadata: {name: one}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: bank}
---
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web}
spec: {selector: all()}
"""


def parse(text: str, namespace: str = "default") -> ParsedCluster:
    read = read_documents(text, "f.yaml")
    assert not read.faults
    return parse_cluster(read.documents, namespace)


def test_the_kinds_that_decide_are_read_and_the_others_counted() -> None:
    parsed = parse(FILES)

    assert not parsed.faults
    assert [(pod.namespace, pod.name) for pod in parsed.cluster.pods] == [("default", "web"), ("shop", "web")]
    assert [policy.namespace for policy in parsed.cluster.policies] == ["bank"]
    assert list(parsed.cluster.nodes) == ["one"]
    assert parsed.skipped == {"NetworkPolicy of projectcalico.org/v3": 1, "Service": 1}


def test_namespaces_that_objects_name_are_assumed_with_their_name_alone() -> None:
    parsed = parse(FILES, "lab")

    assert parsed.assumed_namespaces == ("bank", "lab")
    assert parsed.cluster.namespace_labels("bank") == {NAME_LABEL: "bank"}
    assert parsed.cluster.namespace_labels("shop") == {NAME_LABEL: "shop", "team": "a"}


def test_of_two_objects_with_one_name_the_later_is_a_fault() -> None:
    first, later = (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: {app}}}}}\n" for app in "ab"
    )
    parsed = parse(f"{first}---\n{later}")

    assert [pod.labels for pod in parsed.cluster.pods] == [{"app": "a"}]
    [fault] = parsed.faults
    assert str(fault).startswith("f.yaml:7:12: Pod default/web: metadata.name: ")


def test_pods_never_share_a_uid() -> None:
    one, other = (f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, uid: u}}\n" for name in "ab")
    parsed = parse(f"{one}---\n{other}")

    assert len({pod.uid for pod in parsed.cluster.pods}) == 2
    assert [fault.path for fault in parsed.faults] == [("metadata", "uid")]


def test_policies_of_groups_that_are_gone_are_told_so_and_closed() -> None:
    for version in ("extensions/v1beta1", "networking.k8s.io/v2", "v1"):
        parsed = parse(
            f"apiVersion: {version}\nkind: NetworkPolicy\nmetadata: {{name: web}}\nspec: {{ingress: [{{}}]}}"
        )

        assert [fault.path for fault in parsed.faults] == [("apiVersion",)]
        [policy] = parsed.cluster.policies
        assert all(side.faults for side in policy.sides.values())


def test_faults_and_warnings_stand_where_the_field_stands() -> None:
    parsed = parse(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: web\nspec:\n  ingress:\n"
        "  - from:\n    - ipBlock: {cidr: 10.1.2.3/8}\n    prots: []\n"
    )

    assert [str(fault).split(": ")[:3] for fault in parsed.faults] == [
        ["f.yaml:9:5", "NetworkPolicy default/web", "spec.ingress[0].prots"]
    ]
    assert [str(warning).split(": ")[0] for warning in parsed.warnings] == ["f.yaml:8:17"]


def test_a_file_of_something_else_beside_the_manifests_is_counted() -> None:
    parsed = parse("connections: []\n---\nreplicas: 3\n")

    assert parsed.skipped == {"no Kubernetes object": 2}
    assert not parsed.faults


@pytest.mark.parametrize(
    ("kind", "version", "meant"),
    [
        ("networkpolicy", "networking.k8s.io/v1", "NetworkPolicy"),
        ("Networkpolicy", "extensions/v1beta1", "NetworkPolicy"),
        ("networkpolicyList", "networking.k8s.io/v1", "NetworkPolicyList"),
        ("pod", "v1", "Pod"),
        ("list", "v1", "List"),
    ],
)
def test_a_kind_of_ours_in_other_letters_is_a_fault_not_skipped(kind: str, version: str, meant: str) -> None:
    parsed = parse(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: web}}\n")

    [fault] = parsed.faults
    assert str(fault).startswith("f.yaml:2:1: ")
    assert fault.reason.endswith(f"did you mean {meant}?")
    assert not parsed.skipped


def test_kinds_of_others_in_any_letters_are_counted() -> None:
    parsed = parse("apiVersion: projectcalico.org/v3\nkind: networkpolicy\nmetadata: {name: web}\n")

    assert parsed.skipped == {"networkpolicy": 1}
    assert not parsed.faults


def test_documents_that_are_no_objects_are_faults() -> None:
    parsed = parse("- a\n---\njust text\n---\nmetadata: {}\n---\nkind: 7\n")

    assert [fault.position.line for fault in parsed.faults if fault.position] == [1, 3, 5, 7]
    assert parsed.cluster.pods == ()


KINDS = st.sampled_from(["Pod", "Node", "Namespace", "NetworkPolicy", "Service"])
NAMES = st.fixed_dictionaries({"name": st.sampled_from("ab")}, optional={"namespace": JSON | st.just("shop")})
OBJECTS = st.fixed_dictionaries(
    {"kind": KINDS, "metadata": NAMES, "apiVersion": st.sampled_from(["v1", "networking.k8s.io/v1"]) | JSON},
    optional={"spec": JSON, "status": JSON},
)


@given(st.lists(JSON | OBJECTS))
def test_any_documents_make_a_cluster(trees: list[object]) -> None:
    parsed = parse_cluster(Document(tree, {}, "f") for tree in trees)
    policies = parsed.cluster.policies
    names = [(item.namespace, item.name) for item in policies]

    assert len(set(names)) == len(names)
    assert {pod.namespace for pod in parsed.cluster.pods} <= set(parsed.cluster.namespaces)
    assert {policy.namespace for policy in policies} <= set(parsed.cluster.namespaces)
    counted = (
        len(parsed.cluster.pods)
        + len(policies)
        + len(parsed.cluster.nodes)
        + len(parsed.cluster.namespaces)
        - len(parsed.assumed_namespaces)
        + sum(parsed.skipped.values())
    )
    assert counted == len(trees) or parsed.faults
