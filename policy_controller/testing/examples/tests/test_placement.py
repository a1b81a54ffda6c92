"""Nodes and addresses for pods that have none: always the same, and never in the way of what a file says."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from compilers.model.cluster import Cluster, Namespace, Node, Phase, Pod, PodNetwork
from policy_controller.testing.examples import PlacementError, place


def _pod(name: str, **fields: object) -> Pod:
    return replace(Pod("shop", name, f"uid-{name}", {}, None), **fields)  # type: ignore[arg-type] # field values are the caller's


def _placed(*pods: Pod, nodes: tuple[Node, ...] = ()) -> dict[str, tuple[str | None, list[str]]]:
    cluster = place(Cluster.of([Namespace("shop", {})], pods, nodes=nodes))
    return {pod.name: (pod.node, [str(address) for address in pod.addresses]) for pod in cluster.pods}


def test_pods_are_dealt_to_nodes_in_the_order_of_their_names() -> None:
    names = ["c", "a", "b"]
    assert _placed(*map(_pod, names)) == {
        "a": ("node-a", ["10.244.1.11", "fd10:244:1::b"]),
        "b": ("node-b", ["10.244.2.11", "fd10:244:2::b"]),
        "c": ("node-a", ["10.244.1.12", "fd10:244:1::c"]),
    }


def test_what_a_file_says_of_a_pod_stays() -> None:
    address = ip_address("10.244.1.11")
    placed = _placed(
        _pod("given", node="node-b", addresses=(address,)), _pod("next", node="node-a"), _pod("zero")
    )
    assert placed == {
        "given": ("node-b", ["10.244.1.11"]),
        # 10.244.1.11 is taken.
        "next": ("node-a", ["10.244.1.12", "fd10:244:1::c"]),
        "zero": ("node-a", ["10.244.1.13", "fd10:244:1::d"]),
    }


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.FAILED, Phase.PENDING])
def test_a_pod_that_does_not_run_gets_no_address(phase: Phase) -> None:
    assert _placed(_pod("job", phase=phase)) == {"job": (None, [])}


def test_a_host_network_pod_has_its_nodes_addresses() -> None:
    node = Node("node-a", (ip_address("172.31.0.77"),))
    pods = (_pod("a", network=PodNetwork.HOST), _pod("b", network=PodNetwork.HOST))
    assert _placed(*pods, nodes=(node,)) == {
        "a": ("node-a", ["172.31.0.77"]),
        "b": ("node-b", ["172.31.0.12", "fd31::c"]),
    }


def test_a_pod_on_a_node_that_is_not_there_is_refused() -> None:
    with pytest.raises(PlacementError, match=r"pod shop/a: .* worker-1 is none of node-a, node-b"):
        _placed(_pod("a", node="worker-1"))


def test_a_node_that_is_full_is_refused() -> None:
    with pytest.raises(PlacementError, match="has 244 pods already"):
        _placed(*(_pod(f"pod-{number}", node="node-a") for number in range(245)))


def test_placing_twice_is_placing_once() -> None:
    once = place(Cluster.of([Namespace("shop", {})], [_pod("a"), _pod("b", network=PodNetwork.HOST)]))
    assert place(once) == once
