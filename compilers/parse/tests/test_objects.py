"""Pods, namespaces and nodes: the few fields that decide, and that the rest does not matter."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.cluster import (
    NAME_LABEL,
    Ending,
    Node,
    OperatingSystem,
    Phase,
    Pod,
    PodNetwork,
    Workload,
)
from compilers.model.faults import path_text
from compilers.model.port import NamedPort
from compilers.model.settings import EXISTING_CONNECTIONS, ExistingConnections
from compilers.parse.objects import parse_namespace, parse_node, parse_pod
from compilers.parse.policy import Origin
from compilers.parse.tests.trees import JSON, Tree

FOUR, SIX = ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("fd00::1")


def pod_tree(metadata: Tree | None = None, spec: object = None, status: object = None) -> Tree:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "shop", "name": "web-1"} | (metadata or {}),
        "spec": spec,
        "status": status,
    }


def read(tree: Tree, origin: Origin = Origin.FILE) -> tuple[Pod, set[str]]:
    parsed = parse_pod(tree, origin)
    assert parsed.value is not None, parsed.faults
    return parsed.value, {path_text(fault.path) for fault in parsed.faults}


def test_a_whole_pod_is_read() -> None:
    tree = pod_tree(
        {
            "uid": "u-1",
            "labels": {"app": "web", "pod-template-hash": "abc"},
            "creationTimestamp": "2024-01-01T00:00:00Z",
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "controller": True}],
        },
        {
            "nodeName": "one",
            "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}],
            "volumes": [{"anything": True}],
        },
        {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "fd00::1"}, {"ip": "10.0.0.1"}]},
    )
    labels = {"app": "web", "pod-template-hash": "abc"}

    assert read(tree, Origin.API) == (
        Pod(
            namespace="shop",
            name="web-1",
            uid="u-1",
            labels=labels,
            node="one",
            addresses=(FOUR, SIX),
            ports=(NamedPort("http", "TCP", 8080),),
            phase=Phase.RUNNING,
            created="2024-01-01T00:00:00Z",
            workload=Workload("Deployment", "web"),
        ),
        set(),
    )


@pytest.mark.parametrize(
    ("status", "addresses", "faults"),
    [
        (None, (), set()),
        ({}, (), set()),
        ({"podIP": ""}, (), set()),
        ({"podIP": "10.0.0.1"}, (FOUR,), set()),
        ({"podIP": "10.0.0.1", "podIPs": []}, (FOUR,), set()),
        ({"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]}, (FOUR, SIX), set()),
        ({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}, (FOUR,), set()),
        ({"podIPs": [{"ip": "10.0.0.x"}, {"ip": "fd00::1"}]}, (SIX,), {"status.podIPs[0].ip"}),
        ({"podIPs": ["10.0.0.1", {"ip": 7}]}, (), {"status.podIPs[0]", "status.podIPs[1].ip"}),
        ({"podIPs": "10.0.0.1"}, (), {"status.podIPs"}),
        ("10.0.0.1", (), {"status"}),
    ],
)
def test_every_pod_ip_counts_and_an_unreadable_one_is_left_out(
    status: object, addresses: tuple[object, ...], faults: set[str]
) -> None:
    pod, found = read(pod_tree(status=status))

    assert pod.addresses == addresses
    assert found == faults


HTTP = {"name": "http", "containerPort": 80}


@pytest.mark.parametrize(
    ("spec", "ports", "faults"),
    [
        ({"containers": [{"ports": [HTTP]}]}, [("http", "TCP", 80)], set()),
        ({"containers": [{"ports": [HTTP | {"protocol": None}, HTTP]}]}, [("http", "TCP", 80)], set()),
        (
            {"containers": [{"ports": [HTTP]}, {"ports": [HTTP | {"protocol": "UDP"}]}]},
            [("http", "TCP", 80), ("http", "UDP", 80)],
            set(),
        ),
        ({"containers": [{"ports": [{"containerPort": 80}]}, {"ports": None}, {}]}, [], set()),
        ({"initContainers": [{"ports": [HTTP]}]}, [], set()),
        ({"initContainers": [{"ports": [HTTP], "restartPolicy": "OnFailure"}]}, [], set()),
        ({"initContainers": [{"ports": [HTTP], "restartPolicy": "Always"}]}, [("http", "TCP", 80)], set()),
        (
            {"containers": [{"ports": [{"name": "80", "containerPort": 0, "protocol": "tcp"}, HTTP]}]},
            [("http", "TCP", 80)],
            {f"spec.containers[0].ports[0].{name}" for name in ("name", "containerPort", "protocol")},
        ),
        (
            {"containers": [{"ports": [{"name": "http"}, {"name": True}]}]},
            [],
            {f"spec.containers[0].ports[{end}" for end in ("0].containerPort", "1].name")},
        ),
        ({"containers": [7, {"ports": 7}]}, [], {"spec.containers[0]", "spec.containers[1].ports"}),
        ([], [], {"spec"}),
    ],
)
def test_ports_are_those_of_containers_that_run_together(
    spec: object, ports: list[tuple[str, str, int]], faults: set[str]
) -> None:
    pod, found = read(pod_tree(spec=spec))

    assert pod.ports == tuple(NamedPort(*port) for port in ports)
    assert found == faults


@pytest.mark.parametrize(
    ("status", "from_file", "from_api", "faults"),
    [
        (None, Phase.RUNNING, Phase.PENDING, set()),
        ({"phase": ""}, Phase.RUNNING, Phase.PENDING, set()),
        *(({"phase": phase.value}, phase, phase, set()) for phase in Phase),
        ({"phase": "running"}, Phase.UNKNOWN, Phase.UNKNOWN, {"status.phase"}),
        ({"phase": 7}, Phase.UNKNOWN, Phase.UNKNOWN, {"status.phase"}),
    ],
)
def test_a_missing_phase_is_running_in_files_and_pending_from_an_api_server(
    status: object, from_file: Phase, from_api: Phase, faults: set[str]
) -> None:
    for origin, phase in ((Origin.FILE, from_file), (Origin.API, from_api)):
        pod, found = read(pod_tree(status=status), origin)
        assert pod.phase is phase
        assert found == faults


OWNER = {"kind": "ReplicaSet", "name": "web-abc", "controller": True}
HASH = {"pod-template-hash": "abc"}


@pytest.mark.parametrize(
    ("metadata", "workload"),
    [
        ({}, None),
        ({"ownerReferences": [OWNER], "labels": HASH}, Workload("Deployment", "web")),
        ({"ownerReferences": [OWNER]}, Workload("ReplicaSet", "web-abc")),
        (
            {"ownerReferences": [OWNER], "labels": {"pod-template-hash": "x"}},
            Workload("ReplicaSet", "web-abc"),
        ),
        ({"ownerReferences": [OWNER | {"kind": "Job"}], "labels": HASH}, Workload("Job", "web-abc")),
        ({"ownerReferences": [OWNER | {"controller": False}]}, None),
        (
            {"ownerReferences": [OWNER | {"controller": None}, OWNER | {"kind": "Job"}]},
            Workload("Job", "web-abc"),
        ),
        ({"ownerReferences": [OWNER | {"name": "x\x1b[2J"}]}, None),
        ({"ownerReferences": [{"controller": True}]}, None),
    ],
)
def test_the_workload_is_the_controller_and_the_deployment_behind_a_replica_set(
    metadata: Tree, workload: Workload | None
) -> None:
    assert read(pod_tree(metadata))[0].workload == workload


@pytest.mark.parametrize(
    ("metadata", "spec", "network", "ending", "node", "faults"),
    [
        ({}, {}, PodNetwork.POD, Ending.NO, None, set()),
        ({}, {"hostNetwork": False, "nodeName": ""}, PodNetwork.POD, Ending.NO, None, set()),
        ({}, {"hostNetwork": True, "nodeName": "one"}, PodNetwork.HOST, Ending.NO, "one", set()),
        ({}, {"hostNetwork": "true"}, PodNetwork.POD, Ending.NO, None, {"spec.hostNetwork"}),
        ({}, {"nodeName": "x y"}, PodNetwork.POD, Ending.NO, None, {"spec.nodeName"}),
        (
            {"deletionTimestamp": "2024-01-01T00:00:00Z"},
            {},
            PodNetwork.POD,
            Ending.TERMINATING,
            None,
            set(),
        ),
    ],
)
def test_network_node_and_ending_are_read(
    metadata: Tree, spec: Tree, network: PodNetwork, ending: Ending, node: str | None, faults: set[str]
) -> None:
    pod, found = read(pod_tree(metadata, spec))

    assert (pod.network, pod.ending, pod.node) == (network, ending, node)
    assert found == faults


def test_labels_that_are_not_strings_are_faults_and_left_out() -> None:
    pod, faults = read(pod_tree({"labels": {"a": "x", "b": True, "c": 1, "d": None, 7: "x", "e e": "x"}}))

    assert pod.labels == {"a": "x"}
    assert faults == {f"metadata.labels{end}" for end in (".b", ".c", ".d", ".7", '["e e"]')}


@pytest.mark.parametrize(("uid", "kept"), [("5f1c-9", "5f1c-9"), (None, None), ("", None), ("a\nb", None)])
def test_a_pod_without_a_legal_uid_gets_one_made_of_its_name(uid: str | None, kept: str | None) -> None:
    pod, faults = read(pod_tree({"uid": uid}))
    other, _ = read(pod_tree({"uid": uid, "name": "web-2"}))

    assert pod.uid == kept if kept else pod.uid != other.uid
    assert pod == read(pod_tree({"uid": uid}))[0]
    assert bool(faults) is (uid == "a\nb")


@pytest.mark.parametrize(
    ("spec", "account", "faults"),
    [
        (None, "default", set()),
        ({}, "default", set()),
        ({"serviceAccountName": "policy-controller"}, "policy-controller", set()),
        # API, serviceAccount: "DeprecatedServiceAccount is a deprecated alias for ServiceAccountName."
        ({"serviceAccount": "old"}, "old", set()),
        ({"serviceAccountName": "", "serviceAccount": "old"}, "old", set()),
        ({"serviceAccountName": "new", "serviceAccount": "old"}, "new", set()),
        ({"serviceAccountName": None, "serviceAccount": None}, "default", set()),
        # What cannot be read is nobody's account: least of all that of the operator, whose pods are never isolated.
        ({"serviceAccountName": ["policy-controller"]}, "", {"spec.serviceAccountName"}),
        ({"serviceAccountName": "policy-controller\n"}, "", {"spec.serviceAccountName"}),
        ({"serviceAccountName": 7, "serviceAccount": "policy-controller"}, "", {"spec.serviceAccountName"}),
        ({"serviceAccount": {}}, "", {"spec.serviceAccount"}),
    ],
)
def test_a_pod_runs_as_one_account_of_its_namespace(spec: object, account: str, faults: set[str]) -> None:
    pod, found = read(pod_tree(spec=spec))

    assert (pod.account, found) == (account, faults)


def test_a_broken_pod_keeps_its_account() -> None:
    """So that what is wrong with another field does not isolate an operator."""
    spec = {"serviceAccountName": "policy-controller", "nodeName": 7, "containers": 7, "hostNetwork": []}
    pod, faults = read(pod_tree({"labels": 7, "uid": 7}, spec, {"podIPs": 7, "phase": 7}), Origin.API)

    assert pod.account == "policy-controller"
    assert len(faults) >= 5


def test_a_time_that_does_not_sort_as_text_is_a_fault() -> None:
    pod, faults = read(pod_tree({"creationTimestamp": "yesterday"}))

    assert (pod.created, faults) == ("", {"metadata.creationTimestamp"})


def test_a_namespace_has_its_labels_and_its_name() -> None:
    tree = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "a"}}}
    parsed = parse_namespace(tree, Origin.FILE)

    assert parsed.value is not None
    assert parsed.value.labels == {"team": "a", NAME_LABEL: "shop"}
    assert not parsed.faults
    assert parse_namespace(tree | {"metadata": {"name": "a.b"}}, Origin.FILE).value is None


@pytest.mark.parametrize(
    ("annotations", "expected", "words"),
    [
        (None, None, ""),
        ({}, None, ""),
        ({"policy-controller.io/other": "cut"}, None, ""),
        ({EXISTING_CONNECTIONS: "cut"}, ExistingConnections.CUT, ""),
        ({EXISTING_CONNECTIONS: "keep"}, ExistingConnections.KEEP, ""),
        ({EXISTING_CONNECTIONS: ""}, None, "must be keep or cut"),
        (
            {EXISTING_CONNECTIONS: "Cut"},
            None,
            '"Cut" must be keep or cut: until then what is set for the cluster',
        ),
        ({EXISTING_CONNECTIONS: "cut\x1b[2J" + "x" * 100_000}, None, "must be keep or cut"),
        ({EXISTING_CONNECTIONS: True}, None, "must be a string"),
        ("cut", None, ""),
    ],
)
def test_a_namespace_chooses_what_becomes_of_open_connections(
    annotations: object, expected: ExistingConnections | None, words: str
) -> None:
    tree = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"team": "a"}, "annotations": annotations},
    }
    parsed = parse_namespace(tree, Origin.API)

    # Whatever is written there, its labels go on deciding who is a peer.
    assert parsed.value is not None
    assert parsed.value.labels == {"team": "a", NAME_LABEL: "shop"}
    assert parsed.value.existing_connections is expected
    assert [(fault.path[:2], words in fault.reason) for fault in parsed.faults] == [
        (("metadata", "annotations"), True)
    ] * bool(words)
    assert all(len(str(fault)) < 400 and str(fault).isprintable() for fault in parsed.faults)


def test_a_node_has_the_addresses_that_packets_carry() -> None:
    tree = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "one.example"},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "fd00::1"},
                {"type": "ExternalIP", "address": "10.0.0.1"},
                {"type": "Hostname", "address": "10.0.0.2"},
                {"type": "InternalDNS", "address": "one"},
            ]
        },
    }

    parsed = parse_node(tree, Origin.API)
    assert parsed.value == Node("one.example", (FOUR, SIX))
    assert not parsed.faults


@pytest.mark.parametrize(
    ("labels", "system", "faults"),
    [
        (None, OperatingSystem.LINUX, set()),
        ({"team": "a"}, OperatingSystem.LINUX, set()),
        ({"kubernetes.io/os": "linux"}, OperatingSystem.LINUX, set()),
        ({"kubernetes.io/os": "windows"}, OperatingSystem.OTHER, set()),
        ({"kubernetes.io/os": ""}, OperatingSystem.OTHER, set()),
        # What cannot be read names no other system: such a node is waited for.
        ({"kubernetes.io/os": None}, OperatingSystem.LINUX, set()),
        ({"kubernetes.io/os": 7}, OperatingSystem.LINUX, {("metadata", "labels", "kubernetes.io/os")}),
        (["kubernetes.io/os=windows"], OperatingSystem.LINUX, {("metadata", "labels")}),
    ],
)
def test_a_node_runs_what_its_label_says_and_linux_without_it(
    labels: object, system: OperatingSystem, faults: set[tuple[str, ...]]
) -> None:
    parsed = parse_node({"metadata": {"name": "one", "labels": labels}}, Origin.API)
    assert parsed.value == Node("one", (), system)
    assert {fault.path for fault in parsed.faults} == faults


@given(JSON, st.sampled_from(Origin))
def test_any_tree_is_an_object_or_faults(tree: object, origin: Origin) -> None:
    for parsed in (parse_pod(tree, origin), parse_namespace(tree, origin), parse_node(tree, origin)):
        assert parsed.value is not None or parsed.faults


PARTS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("labels", "uid", "ownerReferences", "creationTimestamp", "deletionTimestamp"), JSON
    )
    | {
        name: JSON | st.lists(st.fixed_dictionaries({"ports": JSON}))
        for name in ("containers", "initContainers")
    }
    | dict.fromkeys(("nodeName", "hostNetwork", "phase", "podIPs", "podIP", "addresses"), JSON),
)


@given(PARTS, PARTS, PARTS, st.sampled_from(Origin))
def test_any_fields_leave_a_named_pod(metadata: Tree, spec: Tree, status: Tree, origin: Origin) -> None:
    pod, _ = read(pod_tree(metadata, spec, status), origin)

    assert (pod.namespace, pod.name) == ("shop", "web-1")
    assert hash(pod) == hash(pod)
