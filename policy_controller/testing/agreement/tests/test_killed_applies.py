"""An enforcer is killed at points all over an apply, under a flood: the kernel holds what one of the phases leaves, never a mixture.

Before the switch that is the old generation, after it the new one (docs/architecture.md, phases of an apply).
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import pytest

from compilers.nftables.base import Base
from compilers.nftables.plan import plan
from compilers.nftables.render import Tables, render_empty
from compilers.nftables.transaction import install
from compilers.nftables.words import TableFamily
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from policy_controller.testing.agreement.tests.dying import Life, lived
from policy_controller.testing.agreement.tests.flooded import Flooded
from policy_controller.testing.agreement.tests.flooded_states import NODE, State
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.test_atomicity import assert_atomic, flooding
from policy_controller.testing.agreement.tests.transitions import by_chance
from policy_controller.testing.extent import Extent
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.generators import seeded
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import DeltaMessage, OperatorMessage, SnapshotMessage, Stands

pytestmark = [pytest.mark.packets, pytest.mark.timeout(900)]

SEED: Final = 3
OLD: Final = "old"
STANDS: Final = Stands(1, 1, 1)


@pytest.fixture(scope="module")
def ground() -> Iterator[Flooded]:
    with flooding(NetworkKind.BRIDGE) as ground:
        yield ground


def messages(before: State, after: State, *, whole: bool) -> list[bytes]:
    """A snapshot of one state, then the other as a snapshot or as a delta."""
    first: OperatorMessage = SnapshotMessage(1, STANDS, before.rule_set)
    second: OperatorMessage = SnapshotMessage(2, STANDS, after.rule_set)
    if not whole:
        delta = difference(before.rule_set, after.rule_set)
        second = DeltaMessage(1, 2, STANDS, digest_of(after.rule_set), delta)
    return [encode_operator(message).SerializeToString() for message in (first, second)]


def left_by_phases(before: Tables, after: Tables, base: Base) -> list[tuple[str, Tables]]:
    """What each phase of the plan leaves, by its name, on a kernel that carries transactions out whole."""
    nft, empty = FakeNft(), render_empty(base)
    for transaction in (*map(install, empty.each()), *(one for _, one in plan(empty, before).each())):
        nft.run(transaction)
    left = [(OLD, before)]
    for phase, transaction in plan(before, after).each():
        nft.run(transaction)
        inet, bridge = (nft.list_table(family, base.inet.name) for family in TableFamily)
        assert inet is not None
        assert bridge is not None
        left.append((phase, Tables(inet, bridge)))
    assert left[-1][1] == after
    return left


async def test_an_enforcer_that_is_killed_at_any_point_of_an_apply_leaves_the_old_or_the_new_generation(
    ground: Flooded, extent: Extent, record_property: Record
) -> None:
    points = extent.choose(2, 100)
    # Nothing is closed for unknown addresses: of each state the operator has spoken last.
    states = [State(one.cluster) for one in by_chance(seeded(SEED), points + 1)]
    interfaces = tuple(ground.laboratory.pod_interfaces)
    found, killed = Counter[str](), 0

    def die_each() -> int:
        nonlocal killed
        commits = 0
        for number, (before, after) in enumerate(pairwise(states)):
            told = messages(before, after, whole=bool(number % 2))
            life = Life(ground.node.namespace, interfaces, NODE, told)
            calls = lived(life)
            assert calls is not None
            dies_at = 1 + number * calls // points
            killed += lived(Life(life.namespace, interfaces, NODE, told, dies_at)) is None
            tables = before.tables(ground.base), after.tables(ground.base)
            ground.held = tables[1]
            held = ground.kernel_holds()
            phases = [name for name, left in left_by_phases(*tables, ground.base) if left == held]
            assert phases, f"a mixture after {dies_at} of {calls} calls"
            found[phases[0]] += 1
            commits += 8
        # The next one brings the last state about, whatever it finds.
        last = [encode_operator(SnapshotMessage(1, STANDS, states[-1].rule_set)).SerializeToString()]
        assert lived(Life(ground.node.namespace, interfaces, NODE, last)) is not None
        return commits

    tally = await asyncio.to_thread(ground.during, die_each)
    record_property("enforcers killed at a point of an apply", killed)
    for phase, times in found.items():
        record_property(f"kernels found as phase {phase} leaves them", times)
    assert killed >= 0.9 * points
    assert_atomic(ground, tally, record_property)
