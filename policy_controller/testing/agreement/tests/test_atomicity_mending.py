"""Under a flood, no packet passes a gate that is closed before and after, while what somebody did to our tables is mended.

What they do here opens nothing by itself, so whatever passes is the mending's.
"""

import asyncio
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Final

import pytest

from compilers.nftables.render import Tables
from policy_controller.clock import SystemClock
from policy_controller.enforcer.kernel import Kernel, Occasion
from policy_controller.testing.agreement.tests.flooded import Flooded, Tally
from policy_controller.testing.agreement.tests.scene import Record, command
from policy_controller.testing.agreement.tests.test_atomicity import assert_atomic, flooding
from policy_controller.testing.agreement.tests.test_atomicity_adoption import There
from policy_controller.testing.agreement.tests.transitions import edited
from policy_controller.testing.extent import Extent
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.testing.laboratory import NetworkKind

pytestmark = [pytest.mark.packets, pytest.mark.timeout(900)]

TABLE: Final = "inet policy-controller"
HARM: Final = {
    "mended by a plan": (
        f"add chain {TABLE} strange; add rule {TABLE} strange accept",
        f"add set {TABLE} strange {{ type ipv4_addr; elements = {{ 192.0.2.1 }}; }}",
        f"add rule {TABLE} to-many counter",
        f"add chain {TABLE} first {{ type filter hook forward priority filter; }}",
    ),
    "mended by replacing tables": (
        f"add counter {TABLE} strange",
        f"add set {TABLE} strange {{ type ether_addr; }}",
        f"add chain {TABLE} first {{ type filter hook forward priority -5; policy accept; }}",
        "add counter bridge policy-controller strange",
    ),
}


@pytest.fixture(scope="module")
def ground() -> Iterator[Flooded]:
    with flooding(NetworkKind.BRIDGE) as ground:
        yield ground


async def mend(ground: Flooded, tables: Tables, harm: Iterator[str]) -> int:
    """Let somebody do each harm, and mend it; how many were mended."""
    mended = 0
    kernel = Kernel(
        There(ground.node.namespace), FakeConnections(), FakeResidence(), ground.base, SystemClock()
    )
    try:
        await kernel.adopt()
        for text in harm:
            await asyncio.to_thread(command, ground.node.namespace, "nft", text)
            assert await kernel.mend(tables, Occasion.SUSPICION), text
            mended += 1
    finally:
        kernel.close()
    return mended


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_no_packet_passes_while_what_somebody_did_is(
    harm: tuple[str, ...], ground: Flooded, extent: Extent, record_property: Record
) -> None:
    tables = next(edited()).tables(ground.base)
    ground.hold(tables)
    rounds = extent.choose(24, 400)
    tally: Tally = ground.during(lambda: asyncio.run(mend(ground, tables, islice(cycle(harm), rounds))))
    record_property("mendings under flood", rounds)
    assert_atomic(ground, tally, record_property)
