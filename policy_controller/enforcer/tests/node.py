"""An enforcer on a fake kernel, for tests of its conversation with an operator."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import SystemRandom

from compilers.nftables.render import Tables
from compilers.nftables.words import TableFamily
from policy_controller.clock import Clock, SystemClock
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.reach import Reach
from policy_controller.enforcer.reports import Reports
from policy_controller.enforcer.session import Session
from policy_controller.enforcer.stream import follow
from policy_controller.enforcer.tests.operator_double import Site
from policy_controller.enforcer.tests.states import NODE, base
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence

BASE = base()
SYSTEM = SystemClock()


@dataclass
class Node:
    """An enforcer that follows an operator."""

    nft: FakeNft
    metrics: Metrics
    reach: Reach
    reports: Reports
    task: "asyncio.Task[None]"

    def failures(self) -> dict[str, int]:
        """How often what stood between it and the operator."""
        found = re.findall(rb'stream_failures_total{reason="(\w+)"} (\d+)', self.metrics.text())
        return {reason.decode(): int(count) for reason, count in found if count != b"0"}

    def tables(self) -> Tables | None:
        inet, bridge = (self.nft.list_table(family, BASE.inet.name) for family in TableFamily)
        return Tables(inet, bridge) if inet is not None and bridge is not None else None


@asynccontextmanager
async def node(site: Site, clock: Clock = SYSTEM, nft: FakeNft | None = None) -> AsyncIterator[Node]:
    """An enforcer on a fake kernel that follows the operator of the site."""
    nft, metrics = nft or FakeNft(), Metrics()
    reach = Reach(metrics)
    reports = Reports(clock)
    kernel = Kernel(nft, FakeConnections(), FakeResidence(), BASE, clock)
    enforcement = Enforcement(kernel, BASE, Session(NODE), UnknownGates(), clock, metrics)

    async def enforce() -> None:
        await enforcement.adopt()
        async with asyncio.TaskGroup() as group:
            group.create_task(enforcement.keep_gates())
            group.create_task(follow(site.way, enforcement, reach, reports, clock, SystemRandom()))

    task = asyncio.create_task(enforce())
    try:
        yield Node(nft, metrics, reach, reports, task)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kernel.close()
