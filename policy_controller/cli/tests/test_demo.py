"""policyctl demo: the main job from end to end, through the installed script, with real packets."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from compilers.evaluate.decision import Verdict
from policy_controller.cli.demo.changes import Change
from policy_controller.cli.demo.report import Shown
from policy_controller.cli.demo.scene import scene
from policy_controller.cli.tests.running import policyctl
from policy_controller.testing.laboratory import NetworkKind

BROKEN = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: broken}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
    - from: [{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: web}
"""


@pytest.mark.packets
def test_the_demo_agrees_with_the_evaluator_and_shows_every_change_reach_packets() -> None:
    done = policyctl("demo", "--output", "json")

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == "demo/v1"
    assert found["checked"] >= 150
    assert found["mismatches"] == []
    assert len(found["changes"]) == 5
    for change in found["changes"]:
        assert 0 < change["packet_ms"] < 5000, change
    assert {"source", "destination", "protocol", "port", "direction", "policies"} == set(found["denied"][0])
    assert all(one["policies"] for one in found["denied"])


Record = Callable[[str, object], None]
WHOLE = pytest.mark.whole


@pytest.mark.packets
@pytest.mark.parametrize(
    ("network", "nodes"),
    [
        ("vxlan", 3),
        ("routed", 3),
        ("bridge", 1),
        pytest.param("bridge", 20, marks=WHOLE),
        pytest.param("vxlan", 1, marks=WHOLE),
        pytest.param("vxlan", 20, marks=WHOLE),
        pytest.param("routed", 1, marks=WHOLE),
        pytest.param("routed", 20, marks=WHOLE),
    ],
)
@pytest.mark.timeout(300)
def test_the_demo_agrees_with_the_evaluator_on_every_network(
    network: str, nodes: int, record_property: Record
) -> None:
    done = policyctl(
        "demo", "--output", "json", "--network", network, "--nodes", str(nodes), seconds=90 + 10 * nodes
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["network"], len(found["nodes"])) == (network, nodes)
    assert f"on a {network} network".encode() in done.stderr
    # Nine pods, and from each node at least a closed port of each.
    assert found["checked"] >= 150 + 9 * nodes
    assert found["mismatches"] == []
    assert len(found["changes"]) == 5
    assert all(change["packet_ms"] is not None for change in found["changes"])
    record_property(f"connections of demos, evaluator == packets, {network}", found["checked"])


@pytest.mark.parametrize(("flag", "value"), [("--nodes", "0"), ("--nodes", "21"), ("--network", "cloud")])
def test_what_the_demo_cannot_build_is_refused(flag: str, value: str) -> None:
    done = policyctl("demo", flag, value)

    assert done.returncode == 2
    assert flag.encode() in done.stderr


@pytest.mark.packets
def test_the_demo_takes_the_users_policies_and_closes_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "policies.yaml").write_text(BROKEN)

    done = policyctl("demo", "--policies", str(tmp_path), "-o", "json")

    assert done.returncode == 0, done.stderr
    assert b"NetworkPolicy shop/broken" in done.stderr
    assert b"skipped: 1 Deployment" in done.stderr
    found = json.loads(done.stdout)
    web = {(one["destination"], one["direction"]) for one in found["denied"]}
    assert web == {("shop/web-0", "Ingress"), ("shop/web-1", "Ingress")}
    assert {tuple(one["policies"]) for one in found["denied"]} == {("shop/broken",)}


def test_pods_of_a_dump_lose_the_places_that_a_real_cluster_gave_them(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, uid: '1'}\n"
        "spec: {nodeName: ip-10-0-0-1, containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}\n"
        "status: {phase: Running, podIPs: [{ip: 192.0.2.1}]}\n"
    )

    staged = scene(str(tmp_path))

    (pod,) = staged.cluster.pods
    assert pod.node == "node-a"
    assert [str(address) for address in pod.addresses] == ["10.244.1.11", "fd10:244:1::b"]
    assert [one["kind"] for one in staged.objects] == ["Namespace", "Pod"]


UNREADABLE_CONTAINERS = (
    "hello",
    "[hello]",
    "[{name: c, ports: 5}]",
    "[{name: [1], ports: [7, null]}]",
    "[{name: c, ports: [{name: http}]}]",
    "[{name: c, ports: [{containerPort: http}]}]",
    "[{name: c, ports: [{containerPort: 70000}]}]",
    "[{name: c, ports: [{containerPort: 80, protocol: tcp}]}]",
    "[{name: c, ports: [{containerPort: 80, protocol: [TCP]}]}]",
    "[{name: c, ports: [{name: '80', containerPort: true}]}]",
)


@pytest.mark.parametrize("containers", UNREADABLE_CONTAINERS)
def test_of_a_pod_only_the_ports_that_can_be_read_are_made(tmp_path: Path, containers: str) -> None:
    good = "{name: good, ports: [{name: http, containerPort: 8080}]}"
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, labels: {app: web, on: 1}}\n"
        f"spec: {{containers: {containers}, initContainers: [{good}]}}\n"
        "---\napiVersion: v1\nkind: Pod\nmetadata: []\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: [1]}\n"
    )

    staged = scene(str(tmp_path))

    (pod,) = (tree for tree in staged.objects if tree["kind"] == "Pod")
    assert pod["metadata"]["labels"] == {"app": "web"}
    assert [one["ports"] for one in pod["spec"]["initContainers"]] == [
        [{"containerPort": 8080, "protocol": "TCP"}]
    ]
    assert staged.ports == {("shop", "web"): frozenset()}
    assert any(fault.path[:1] == ("metadata",) for fault in staged.faults)


def test_a_policy_that_yaml_gave_odd_keys_is_created_closed_and_a_misspelt_kind_is_told(
    tmp_path: Path,
) -> None:
    (tmp_path / "policies.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        "metadata: {name: odd, namespace: shop, labels: {1: 2}}\nspec: {on: 1, ingress: [{80: [{no: 1}]}]}\n"
        "---\napiVersion: networking.k8s.io/v1\nkind: networkpolicy\nmetadata: {name: low}\n"
        "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: theirs}\n"
        "---\napiVersion: v1\nkind: Node\nmetadata: {name: n}\n"
    )

    staged = scene(str(tmp_path))

    (policy,) = (tree for tree in staged.objects if tree["kind"] == "NetworkPolicy")
    assert policy["spec"] == {"True": 1, "ingress": [{"80": [{"False": 1}]}]}
    assert policy["metadata"] == {"namespace": "shop", "name": "odd"}
    assert any("did you mean NetworkPolicy?" in fault.reason for fault in staged.faults)
    assert staged.skipped == {"NetworkPolicy of projectcalico.org/v3": 1, "Node": 1}


@pytest.mark.parametrize(("packet_ms", "holds"), [(12.0, True), (None, False)])
def test_a_change_that_never_reaches_packets_is_a_failure(packet_ms: float | None, holds: bool) -> None:
    change = Change("policy created", "a -> b TCP 80", Verdict.DENIED, 11.0, packet_ms)
    assert Shown(NetworkKind.BRIDGE, ("node-a",), (), (change,)).holds is holds
