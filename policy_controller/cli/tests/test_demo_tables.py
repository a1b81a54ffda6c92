"""The demo's tables, from verdicts of the evaluator alone: readable on every network and number of nodes."""

from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from ipaddress import ip_address

import pytest
from rich.console import Console

from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.model.words import Address
from policy_controller.cli.demo.matrix import Checked, connections, probe_of, sender
from policy_controller.cli.demo.report import Shown, as_tree, print_tables
from policy_controller.cli.demo.scene import scene
from policy_controller.testing.examples import node_names
from policy_controller.testing.laboratory import NetworkKind, Node
from policy_controller.testing.laboratory.addresses import node_addresses, pod_networks
from policy_controller.testing.laboratory.laboratory import POD_NETWORKS
from policy_controller.testing.probe import Outcome, ProbeResult

TERMINAL = 80
KINDS = pytest.mark.parametrize("kind", NetworkKind, ids=lambda kind: kind.value)


def far_addresses(kind: NetworkKind, nodes: tuple[str, ...]) -> Mapping[Address, str]:
    network = POD_NETWORKS[kind]()
    built = (
        Node(name, name, index, *node_addresses(index), *pod_networks(index))
        for index, name in enumerate(nodes, start=1)
    )
    return {address: node.name for node in built for address in network.far_addresses(node)}


def found(kind: NetworkKind, count: int) -> Shown:
    """What a demo finds when packets see what is expected."""
    nodes = node_names(count)
    far, staged = far_addresses(kind, nodes), scene(nodes=nodes)
    checked = []
    for traffic in connections(staged.cluster, staged.ports, far):
        decision = judge(staged.cluster, traffic)
        probe = probe_of(traffic, {traffic.source.address: "here"})
        result = ProbeResult(probe, Outcome.ACCEPTED, None, "", 0.0, 1.0)
        checked.append(Checked(sender(traffic.source, far), decision, decision.verdict, result))
    return Shown(kind, nodes, tuple(checked), ())


def printed(shown: Shown) -> list[str]:
    text = StringIO()
    print_tables(Console(file=text, width=TERMINAL, highlight=False), shown)
    return text.getvalue().splitlines()


@KINDS
@pytest.mark.parametrize("count", [1, 2, 3, 12, 20])
def test_every_sender_has_a_column_whatever_the_network_and_the_number_of_nodes(
    kind: NetworkKind, count: int
) -> None:
    shown = found(kind, count)
    nodes, pods, hosts = {f"node/{name}" for name in shown.nodes}, 9, 3

    lines = printed(shown)

    assert max(map(len, lines)) <= TERMINAL
    (digits,) = {line.split()[1] for line in lines if line.startswith("to ")}
    assert len(digits) == len(nodes) + pods + hosts
    words = {word for line in lines for word in line.split()}
    assert nodes | set(digits) <= words
    assert {one.source for one in shown.checked} <= words
    assert not any("see --output json" in line for line in lines)


@pytest.mark.parametrize("count", [2, 20])
def test_what_was_not_expected_is_marked_in_the_narrow_and_in_the_wide_matrix(count: int) -> None:
    shown = found(NetworkKind.VXLAN, count)
    source = ip_address("fd10:244:2::")
    wrong = next(one for one in shown.checked if one.decision.traffic.source.address == source)
    turned = Verdict.ALLOWED if wrong.seen is Verdict.DENIED else Verdict.DENIED
    checked = tuple(replace(one, seen=turned) if one is wrong else one for one in shown.checked)

    before, after = ("\n".join(printed(replace(shown, checked=each))) for each in (shown.checked, checked))

    (row,) = (line for line in after.splitlines() if "✗" in line and "not as expected" not in line)
    assert row.startswith(str(wrong.decision.traffic.destination))
    assert (before.count("✗"), after.count("✗")) == (1, 2)
    assert "mismatch" not in before
    (mismatch,) = as_tree(replace(shown, checked=checked))["mismatches"]
    assert (mismatch["source"], mismatch["source_address"]) == ("node/node-b", str(source))


@KINDS
def test_a_node_that_comes_with_an_address_of_its_tunnel_is_said_to(kind: NetworkKind) -> None:
    told = [line for line in printed(found(kind, 3)) if line.startswith("pods of other nodes see")]

    expected = "pods of other nodes see node/node-a as 10.244.1.0 and fd10:244:1::, and so on"
    assert told == ([expected] if kind is NetworkKind.VXLAN else [])


def test_a_matrix_that_fits_no_terminal_is_left_out_and_said_to_be() -> None:
    text = StringIO()
    print_tables(Console(file=text, width=40, highlight=False), found(NetworkKind.ROUTED, 20))

    assert "32 sources and 23 services: too wide for a matrix" in " ".join(text.getvalue().split())
