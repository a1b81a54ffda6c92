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
from policy_controller.testing.agreement.kernels import Pace
from policy_controller.testing.agreement.tests.flooded import Flooded, Tally
from policy_controller.testing.agreement.tests.flooded_states import NODE, OPEN, PORT, SUBJECTS, State, wrong
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.transitions import (
    TRANSITIONS,
    Transition,
    by_chance,
    edited,
    owners,
    peer_for_port,
)
from policy_controller.testing.extent import Extent
from policy_controller.testing.generators import seeded
from policy_controller.testing.laboratory import NetworkKind

LEAST_RATE: Final = 20_000
"""Packets a second at closed gates. A quiet core sends 500,000; a busy machine must not fail the test."""
SEED: Final = 4
COMMITS_OF_A_TRY: Final = 300
TRIES: Final = 120
"""How often a form that leaks may fail to. Here most leak tens to thousands of packets at the first try."""


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


@pytest.mark.parametrize("transition", TRANSITIONS.values(), ids=TRANSITIONS)
def test_every_state_denies_and_allows_the_same_streams(transition: Transition) -> None:
    assert [line for state in transition.states() for line in wrong(state, transition.spared)] == []


@pytest.mark.packets
@pytest.mark.timeout(900)
@pytest.mark.parametrize("transition", TRANSITIONS.values(), ids=TRANSITIONS)
def test_no_packet_passes_that_is_denied_before_and_after_while(
    transition: Transition, ground: Flooded, extent: Extent, record_property: Record
) -> None:
    states = [state.tables(ground.base) for state in transition.states()]
    tally = ground.turn(states, extent.choose(40, 800), spared=transition.spared)
    assert_atomic(ground, tally, record_property)


@pytest.mark.packets
@pytest.mark.timeout(900)
def test_no_packet_passes_while_one_state_by_chance_follows_the_other(
    ground: Flooded, extent: Extent, record_property: Record
) -> None:
    states = [state.tables(ground.base) for state in by_chance(seeded(SEED), extent.choose(40, 800))]
    assert_atomic(ground, ground.turn(states, extent.choose(100, 3_000)), record_property)


@pytest.mark.packets
@pytest.mark.timeout(900)
def test_no_packet_passes_when_transactions_follow_each_other_as_the_enforcer_sends_them(
    ground: Flooded, extent: Extent, record_property: Record
) -> None:
    unspared = [transition for transition in TRANSITIONS.values() if not transition.spared]
    states = [state.tables(ground.base) for transition in unspared for state in transition.states()]
    tally = ground.turn(states, extent.choose(60, 2_000), Pace.ENFORCER)
    assert_atomic(ground, tally, record_property)


@pytest.mark.packets
@pytest.mark.whole
@pytest.mark.timeout(900)
@pytest.mark.parametrize("network", [NetworkKind.VXLAN, NetworkKind.ROUTED], ids=lambda kind: kind.value)
def test_no_packet_passes_on_any_pod_network(network: NetworkKind, record_property: Record) -> None:
    with flooding(network) as ground:
        for states in (edited, peer_for_port, owners):
            tally = ground.turn([state.tables(ground.base) for state in states()], 500)
            assert_atomic(ground, tally, record_property)


def in_one(*parts: Transaction) -> Transaction:
    return Transaction(tuple(command for part in parts for command in part.commands))


def whole_plan(found: Tables, desired: Tables) -> Transaction:
    """All phases at once."""
    return in_one(*(transaction for _, transaction in plan(found, desired).each()))


Form = Callable[[Flooded, Sequence[Tables]], list[Transaction]]
"""What is committed instead of the plans between these states, round and round."""


def elements_to_new_chains(_: Flooded, states: Sequence[Tables]) -> list[Transaction]:
    """A packet that began before finds the element, and the chain it leads to still empty."""
    return [whole_plan(*pair) for pair in pairs(states)]


def a_table_deleted_and_added(ground: Flooded, states: Sequence[Tables]) -> list[Transaction]:
    """A packet that began before finds the old table's hooks gone."""
    empty = render_empty(ground.base)
    deleted = Transaction(tuple(DeleteTable(table.identity) for table in empty.each()))
    return [in_one(deleted, *map(install, empty.each()), whole_plan(empty, states[0]))]


def chains_emptied_and_filled(_: Flooded, states: Sequence[Tables]) -> list[Transaction]:
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


def what_opens_with_what_closes(_: Flooded, states: Sequence[Tables]) -> list[Transaction]:
    """A packet asks for the port before it leaves, and for the peer after it has joined."""
    plans = [plan(*pair) for pair in pairs(states)]
    return [
        transaction
        for phases in plans
        for transaction in (phases.prepare, in_one(phases.switch, phases.admit), phases.clean_up)
        if transaction.commands
    ]


def pairs(states: Sequence[Tables]) -> Iterator[tuple[Tables, Tables]]:
    return zip(states, (*states[1:], states[0]), strict=True)


@pytest.mark.packets
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("form", "states"),
    [
        (elements_to_new_chains, owners),
        (a_table_deleted_and_added, owners),
        (chains_emptied_and_filled, owners),
        (what_opens_with_what_closes, peer_for_port),
    ],
    ids=lambda value: value.__name__,
)
def test_a_form_that_is_not_used_leaks(
    form: Form, states: Callable[[], Iterator[State]], ground: Flooded, record_property: Record
) -> None:
    tables = [state.tables(ground.base) for state in states()]
    ground.hold(tables[0])
    transactions = form(ground, tables)
    rounds = -(-COMMITS_OF_A_TRY // len(transactions))

    tallies: list[Tally] = []
    while len(tallies) < TRIES and not any(tally.leaks for tally in tallies):
        tallies.append(ground.repeat(transactions, rounds, Pace.AT_ONCE))

    record_property("commits of forms that leak", sum(tally.commits for tally in tallies))
    record_property("packets past closed gates by forms that leak", sum(tally.leaks for tally in tallies))
    assert any(tally.leaks for tally in tallies), "\n".join(map(str, tallies))
