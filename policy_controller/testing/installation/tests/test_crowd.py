"""All enforcers of a cluster come back at once: how soon all are current, what the operator holds then, what the API server is asked.

Over real TLS and gRPC, with real tokens, from as many addresses; operator and API server in this process, the enforcers in another.
"""

import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from policy_controller.controller.tests import objects
from policy_controller.controller.tests.enforcers import install, published, token_of
from policy_controller.controller.tests.objects import new
from policy_controller.controller.tests.running import Running, operator_of
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.access.record import Row
from policy_controller.testing.api_server.features import Features, Permission
from policy_controller.testing.extent import Extent
from policy_controller.testing.installation.tests.crowd import CA, CUT, PORT, TOKENS, crowd

pytestmark = pytest.mark.timeout(600)

SECONDS: Final = 30.0
"""Within which all are current again."""
START_SECONDS: Final = 120.0
PODS_OF_A_NODE: Final = 2
MEBIBYTE: Final = 1 << 20
MOST_MIB_OF_A_NODE: Final = 0.5
"""How much more memory the process may hold for each stream."""
MOST_REQUESTS_BESIDE: Final = 100
"""What an operator asks that starts, whoever connects: LISTs, watches, its own objects."""


def town(server: ApiServer, nodes: Iterable[str]) -> None:
    """A namespace that is closed, with pods on every node."""
    server.create(new(objects.namespace("shop")))
    server.create(new(objects.policy("closed")))
    server.create(new(objects.policy("web", objects.allow_from({"app": "web"}))))
    for number, node in enumerate(nodes):
        for place in range(PODS_OF_A_NODE):
            name = f"{node}-{place}"
            address = f"10.{place}.{number >> 8}.{number & 255}"
            server.create(new(objects.pod(name, node=node, address=address, labels={"app": "web"})))


def held_mib() -> float:
    """Memory of this process (proc(5), statm)."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return resident * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


async def all_current(running: Running, count: int, seconds: float) -> float:
    """Seconds until so many nodes have acknowledged what they should have."""
    began = time.monotonic()
    while True:
        statuses = running.operator.streams.statuses()
        current = sum(status.current for status in statuses.values())
        if current == count:
            return time.monotonic() - began
        assert time.monotonic() - began < seconds, f"{current} of {len(statuses)} are current"
        await asyncio.sleep(0.05)


def asked(rows: Iterable[Row]) -> Counter[str]:
    """How often the API server was asked for each resource, or path, by each verb."""
    counts = Counter[str]()
    for row in rows:
        question = row.question
        counts[f"{question.verb} {question.resource or question.path}"] += row.times
    return counts


async def test_when_all_enforcers_come_back_at_once_they_are_soon_current_and_the_api_server_is_asked_once_a_node(
    tmp_path: Path, extent: Extent, record_property: Record
) -> None:
    count = extent.choose(50, 500)
    nodes = [f"node-{number:03}" for number in range(count)]
    folders = {name: tmp_path / name for name in ("crowd", "first", "second")}
    for folder in (*folders.values(), folders["crowd"] / TOKENS):
        folder.mkdir()
    async with AsyncExitStack() as stack:
        features = Features(permission=Permission.AUTHORIZED)
        server = await stack.enter_async_context(ApiServer.running(features=features))
        install(server, nodes)
        town(server, nodes)
        for node in nodes:
            (folders["crowd"] / TOKENS / node).write_text(token_of(server, node))
        port = folders["crowd"] / PORT
        before = held_mib()
        async with operator_of(server, folders["first"]) as first:
            (folders["crowd"] / CA).write_text(published(server))
            port.write_text(str(first.operator.server.port))
            enforcers = stack.enter_context(crowd(folders["crowd"]))
            await all_current(first, count, START_SECONDS)
            full = held_mib()

            server.record.forget()
            opened = first.operator.server.opened
            enforcers.send_signal(CUT)
            while first.operator.server.opened < opened + count:  # noqa: ASYNC110 - a counter sets no event
                await asyncio.sleep(0.05)
            cut = await all_current(first, count, SECONDS)
            asked_after_cut = asked(server.record.rows)
        server.record.forget()
        async with operator_of(server, folders["second"]) as second:
            port.write_text(str(second.operator.server.port))
            replaced = await all_current(second, count, SECONDS)
            asked_after_replacement = asked(server.record.rows)
            again = held_mib()
    reviews = asked_after_replacement.pop("create tokenreviews")
    record_property(f"seconds until {count} enforcers that were cut off are current", cut)
    record_property(f"seconds until {count} enforcers of a new operator are current", replaced)
    record_property(
        f"TokenReviews for {count} enforcers that were cut off", asked_after_cut["create tokenreviews"]
    )
    record_property(f"TokenReviews for {count} enforcers of a new operator", reviews)
    record_property(
        f"other requests of a new operator with {count} enforcers", asked_after_replacement.total()
    )
    record_property(f"MiB more with {count} enforcers", full - before)
    record_property(f"MiB more after {count} have come back twice", again - before)
    assert asked_after_cut["create tokenreviews"] == 0
    assert reviews <= count
    assert asked_after_replacement.total() < MOST_REQUESTS_BESIDE, asked_after_replacement
    assert again - full < MOST_MIB_OF_A_NODE * count
