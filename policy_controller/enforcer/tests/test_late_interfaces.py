"""Pods that a routed network brings after the start are seen, and nothing that only passes by is."""

import asyncio
from collections.abc import Iterable

import pytest

from policy_controller.enforcer.interfaces import Link, LinkKind, Place, detect
from policy_controller.enforcer.late_interfaces import LOOK_SECONDS, late, late_findings, until_late
from policy_controller.enforcer.preflight import Weight
from policy_controller.testing.clock import FakeClock

VETH, LXC = Link("veth1", LinkKind.VETH), Link("lxc1", LinkKind.VETH)
PORT = Link("veth1", LinkKind.VETH, Place.PORT)
BRIDGE = Link("cni0", LinkKind.BRIDGE)
AT_START = detect(())
Links = tuple[Link, ...]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ((), (), ()),
        ((), (VETH,), ("veth*",)),
        ((VETH,), (VETH, LXC), ("lxc*",)),
        ((VETH,), (), ()),
        ((VETH,), (VETH, BRIDGE), ()),
        ((), (PORT,), ()),
        ((), (BRIDGE, VETH), ()),
    ],
)
def test_patterns_that_came_later_are_late_and_those_whose_links_went_are_not(
    before: Links, now: Links, expected: tuple[str, ...]
) -> None:
    in_force = detect(before)
    assert late(now, in_force) == expected
    found = late_findings(now, in_force)
    assert [one.weight for one in found] == [Weight.NOT_READY] * bool(expected)
    assert all(pattern in one.sentence for one in found for pattern in expected)


async def watch(looks: Iterable[Links | OSError]) -> tuple[str, ...] | None:
    """What has been waited for after these looks, None when it is waited for still."""
    clock, coming = FakeClock(), iter(looks)

    async def links() -> Links:
        look = next(coming)
        if isinstance(look, OSError):
            raise look
        return look

    task = asyncio.create_task(until_late(AT_START, links, clock))
    for _ in tuple(looks):
        await clock.advance(LOOK_SECONDS)
    if task.done():
        return task.result()
    task.cancel()
    return None


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([(), (VETH,), (VETH,)], ("veth*",)),
        ([(), (VETH,), OSError(1, "no"), (VETH, LXC)], ("veth*",)),
        ([(VETH,), (PORT,), (VETH,), (PORT,)], None),
        ([(VETH,), (LXC,)], None),
        ([(), ()], None),
    ],
)
async def test_links_that_two_looks_see_end_the_wait(
    looks: list[Links | OSError], expected: tuple[str, ...] | None
) -> None:
    assert await watch(looks) == expected
