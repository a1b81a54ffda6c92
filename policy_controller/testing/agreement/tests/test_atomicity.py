"""Under a flood of new flows, no packet passes a gate that is closed before and after a change, in whatever form it comes.

Each packet of the flood is a flow of its own, so each is judged. The forms that are not used because they leak are shown
to leak: these tests can see one packet.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import pytest

from compilers.nftables.plan import plan
from compilers.nftables.render import Tables, render_empty
from compilers.nftables.transaction import AddRule, DeleteTable, FlushChain, Transaction, install
from policy_controller.testing.agreement.tests.flooded import Flooded, Tally, Way
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.transitions import (
    NODE,
    OPEN,
    PORT,
    SUBJECTS,
    TRANSITIONS,
    State,
    by_chance,
    edited,
    owners,
    wrong,
)
from policy_controller.testing.extent import Extent
from policy_controller.testing.generators import seeded
from policy_controller.testing.laboratory import NetworkKind

LEAST_RATE: Final = 20_000
"""Packets a second at closed gates. A quiet core sends 500,000; a busy machine must not fail the test."""
SEED: Final = 4
TRIES: Final = 20
"""How often a form that leaks may fail to, 400 commits a time; hundreds of packets leak at the first time here."""


@contextmanager
def flooding(network: NetworkKind) -> Iterator[Flooded]:
    pods = {one.name: one.addresses for one in SUBJECTS}
    with Flooded(NODE, pods, open_to=[OPEN], port=PORT, network=network) as ground:
        ground.begin(next(edited()).tables(ground.base))
        yield ground


@pytest.fixture(scope="module")
def ground() -> Iterator[Flooded]:
    with flooding(NetworkKind.BRIDGE) as ground:
        yield ground


def assert_atomic(ground: Flooded, tally: Tally, record: Record) -> None:
    record("commits under flood", tally.commits)
    record("seconds of flood", tally.seconds)
    record("packets at closed gates under flood", tally.closed.seen)
    record("packets past closed gates under flood", tally.leaks)
    record("packets at open gates under flood", tally.opened.seen)
    record("packets refused by open gates under flood", tally.refusals)
    assert tally.leaks == 0, str(tally)
    assert tally.refusals == 0, str(tally)
    # Otherwise there was nothing to leak or to be refused.
    assert tally.rate >= LEAST_RATE, str(tally)
    assert tally.opened.seen > 0, str(tally)
    assert ground.kernel_holds() == ground.held


@pytest.mark.parametrize("states", TRANSITIONS.values(), ids=TRANSITIONS)
def test_every_state_denies_and_allows_the_same_streams(states: Callable[[], Iterator[State]]) -> None:
    assert [line for state in states() for line in wrong(state)] == []


@pytest.mark.packets
@pytest.mark.timeout(600)
@pytest.mark.parametrize("states", TRANSITIONS.values(), ids=TRANSITIONS)
def test_no_packet_passes_a_gate_that_is_closed_before_and_after_while(
    states: Callable[[], Iterator[State]], ground: Flooded, extent: Extent, record_property: Record
) -> None:
    tally = ground.turn([state.tables(ground.base) for state in states()], extent.choose(1500, 20_000))
    assert_atomic(ground, tally, record_property)


@pytest.mark.packets
@pytest.mark.timeout(600)
def test_no_packet_passes_while_one_state_by_chance_follows_the_other(
    ground: Flooded, extent: Extent, record_property: Record
) -> None:
    states = [state.tables(ground.base) for state in by_chance(seeded(SEED), extent.choose(40, 800))]
    assert_atomic(ground, ground.turn(states, extent.choose(2_000, 40_000)), record_property)


@pytest.mark.packets
@pytest.mark.timeout(600)
def test_no_packet_passes_when_phases_follow_each_other_as_the_enforcer_sends_them(
    ground: Flooded, extent: Extent, record_property: Record
) -> None:
    states = [state.tables(ground.base) for transition in TRANSITIONS.values() for state in transition()]
    tally = ground.turn(states, extent.choose(100, 3_000), Way.AS_THE_ENFORCER)
    assert_atomic(ground, tally, record_property)


@pytest.mark.packets
@pytest.mark.whole
@pytest.mark.timeout(600)
@pytest.mark.parametrize("network", [NetworkKind.VXLAN, NetworkKind.ROUTED], ids=lambda kind: kind.value)
def test_no_packet_passes_on_any_pod_network(network: NetworkKind, record_property: Record) -> None:
    with flooding(network) as ground:
        for states in (edited, owners):
            tally = ground.turn([state.tables(ground.base) for state in states()], 10_000)
            assert_atomic(ground, tally, record_property)


def in_one(*parts: Transaction) -> Transaction:
    return Transaction(tuple(command for part in parts for command in part.commands))


def whole_plan(found: Tables, desired: Tables) -> Transaction:
    """All phases at once."""
    return in_one(*(transaction for _, transaction in plan(found, desired).each()))


def elements_to_new_chains(ground: Flooded, states: Sequence[Tables]) -> list[Transaction]:
    """A packet that began before finds the element, and the chain it leads to still empty."""
    return [whole_plan(before, after) for before, after in zip(states, (*states[1:], states[0]), strict=True)]


def a_table_deleted_and_added(ground: Flooded, states: Sequence[Tables]) -> list[Transaction]:
    """Hooks are taken out one by one, and a packet that began before finds no hook."""
    empty = render_empty(ground.base)
    deleted = Transaction(tuple(DeleteTable(table.identity) for table in empty.each()))
    return [in_one(deleted, *map(install, empty.each()), whole_plan(empty, states[0]))]


def chains_emptied_and_filled(ground: Flooded, states: Sequence[Tables]) -> list[Transaction]:
    """Between the two transactions nothing judges."""
    table = states[0].inet.identity
    classes = [chain for chain in states[0].inet.chains if chain.name.startswith(("ci-", "ce-"))]
    return [
        Transaction(commands)
        for chain in classes
        for commands in (
            (FlushChain(table, chain.name),),
            tuple(AddRule(table, chain.name, rule) for rule in chain.rules),
        )
    ]


@pytest.mark.packets
@pytest.mark.parametrize(
    "form", [elements_to_new_chains, a_table_deleted_and_added, chains_emptied_and_filled]
)
def test_a_form_that_is_not_used_leaks(
    form: Callable[[Flooded, Sequence[Tables]], list[Transaction]], ground: Flooded, record_property: Record
) -> None:
    states = [state.tables(ground.base) for state in owners()]
    ground.hold(states[0])
    transactions = form(ground, states)

    tallies: list[Tally] = []
    while len(tallies) < TRIES and not any(tally.leaks for tally in tallies):
        tallies.append(ground.repeat(transactions, -(-400 // len(transactions))))

    record_property("commits of forms that leak", sum(tally.commits for tally in tallies))
    record_property("packets past closed gates by forms that leak", sum(tally.leaks for tally in tallies))
    assert any(tally.leaks for tally in tallies), "\n".join(map(str, tallies))
