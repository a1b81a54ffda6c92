"""A whole operator in the test's own loop, beside a development API server.

Knows how both are started and stopped. The operator is the real one: kopf, kr8s, gRPC and HTTP included.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from compilers.compile import Compiler
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import SystemClock
from policy_controller.controller.kinds import Kind
from policy_controller.controller.operator import Operator
from policy_controller.controller.settings import Settings
from policy_controller.controller.tests.enforcers import door
from policy_controller.controller.tests.scripted_node import Door
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiServer
from policy_controller.wire.channel import HostPort

Files = tuple[Path | None, Path | None]


@dataclass
class Running:
    """A running operator, and where nodes reach it."""

    operator: Operator
    door: Door

    def wanted(self, node: str) -> RuleSet:
        """The rule set that the operator's picture of the cluster means for a node."""
        return Compiler(self.operator.store.cluster()).node(node)

    async def admin(self, path: str) -> tuple[int, str]:
        """Status and text of an admin path."""
        async with aiohttp.ClientSession() as client, client.get(self.operator.admin_url + path) as response:
            return response.status, await response.text()


@asynccontextmanager
async def operator_of(
    server: ApiServer, folder: Path, relist_seconds: float = 300.0, tls: Files = (None, None)
) -> AsyncIterator[Running]:
    """A synced operator with its watches open; `tls`: certificate and key of its own."""
    async with operator_at(server, server.kubeconfig(), folder, relist_seconds, tls) as running:
        yield running


@asynccontextmanager
async def operator_at(
    server: ApiServer,
    credentials: str,
    folder: Path,
    relist_seconds: float = 300.0,
    tls: Files = (None, None),
) -> AsyncIterator[Running]:
    """The same, with these credentials."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(credentials)
    stop = asyncio.Event()
    anywhere = HostPort("127.0.0.1", 0)
    settings = Settings(
        kubeconfig=str(kubeconfig),
        listen=anywhere,
        health=anywhere,
        admin=anywhere,
        relist_seconds=relist_seconds,
        tls_cert=tls[0],
        tls_key=tls[1],
    )
    operator = Operator(settings, SystemClock())
    # Those of another operator in this loop are counted as well.
    others = operator.watches.alive
    running = asyncio.create_task(operator.run(stop, lambda: None))
    try:
        await eventually(lambda: operator.compile_loop.revision is not None or running.done())
        await eventually(lambda: operator.watches.alive >= others + len(Kind) or running.done())
        await eventually(lambda: operator.server.alive or running.done())
        yield Running(operator, door(server, operator.server.port))
    finally:
        stop.set()
        await running
