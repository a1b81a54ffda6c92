"""What an enforcer has its kernel hold in each moment of its life, found by the enforcer's own logic.

Knows enforcement and a kernel in memory. Knows no packets: the tests carry the tables into real kernels.
"""

import asyncio
import enum
import time
from typing import Final, Self

from compilers.model.words import Direction
from compilers.nftables.base import Base
from compilers.nftables.render import UNKNOWN_SLOT, Tables
from compilers.nftables.words import TableFamily
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import SystemClock
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import UnknownGates, UnknownPods
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.session import Session
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import Ack, SnapshotMessage, Stands

SETTLE_SECONDS: Final = 10.0


class Moment(enum.Enum):
    """How an enforcer that has once been told a rule set stands to its operator."""

    NEVER_TOLD = "it has never had a stream"
    TOLD = "the operator's last word is in force"
    LOST = "the stream is gone"
    RESTARTED = "the enforcer has been started anew, and no operator is there"


async def tables_at(
    moment: Moment, base: Base, rule_set: RuleSet, unknown_pods: UnknownPods = UnknownPods.DROP
) -> Tables:
    """What the kernel holds then."""
    nft = FakeNft()
    async with _Enforcer(nft, base, rule_set.node, unknown_pods) as first:
        if moment is not Moment.NEVER_TOLD:
            await first.hear(rule_set)
        if moment is Moment.LOST:
            first.enforcement.end_stream()
            await _settled(nft, base, unknown_pods)
    if moment is Moment.RESTARTED:
        async with _Enforcer(nft, base, rule_set.node, unknown_pods):
            pass
    return _held(nft, base)


class _Enforcer:
    """An enforcer without a process, over a kernel that outlives it."""

    def __init__(self, nft: FakeNft, base: Base, node: str, unknown_pods: UnknownPods) -> None:
        clock = SystemClock()
        self._kernel = Kernel(nft, FakeConnections(), FakeResidence(), base, clock)
        self.enforcement = Enforcement(
            self._kernel, base, Session(node), UnknownGates(unknown_pods), clock, Metrics()
        )

    async def __aenter__(self) -> Self:
        await self.enforcement.adopt()
        self._gates = asyncio.create_task(self.enforcement.keep_gates())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gates.cancel()
        self._kernel.close()

    async def hear(self, rule_set: RuleSet) -> None:
        """A stream begins, and brings a snapshot."""
        self.enforcement.begin_stream()
        answer = await self.enforcement.receive(encode_operator(SnapshotMessage(1, Stands(), rule_set)))
        assert isinstance(answer, Ack), answer


async def _settled(nft: FakeNft, base: Base, unknown_pods: UnknownPods) -> None:
    """Return when the gates for unknown addresses stand as they should without a stream."""
    closed = unknown_pods is UnknownPods.DROP
    deadline = time.monotonic() + SETTLE_SECONDS
    while any(
        bool(_held(nft, base).inet.chain(UNKNOWN_SLOT[direction]).rules) is not closed
        for direction in Direction
    ):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


def _held(nft: FakeNft, base: Base) -> Tables:
    inet, bridge = (nft.list_table(family, base.inet.name) for family in TableFamily)
    assert inet is not None
    assert bridge is not None
    return Tables(inet, bridge)
