"""All enforcers of a cluster come back at once: how soon all are current, what the operator holds then, what the API server is asked.

Over real TLS and gRPC, with real tokens, from as many addresses; operator and API server in this process, the enforcers in another.
"""

import asyncio
import gc
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
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
"""Within which all are current again, or within so many of a processor of its own, where others have them as well."""
PATIENCE_SECONDS: Final = 150.0
PODS_OF_A_NODE: Final = 2
MEBIBYTE: Final = 1 << 20
MOST_MIB_OF_A_NODE: Final = 0.5
"""How much more memory the process may hold for each stream."""
MOST_REQUESTS_BESIDE: Final = 200
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


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, and how long until then processors worked for this process, and for that of the enforcers: seconds."""

    now: float
    here: float
    there: float

    @classmethod
    def of(cls, enforcers: "subprocess.Popen[bytes]") -> "Moment":
        fields = Path(f"/proc/{enforcers.pid}/stat").read_text().rpartition(")")[2].split()
        # utime and stime (proc(5)), counted from the state on.
        ticks = int(fields[11]) + int(fields[12])
        return cls(time.monotonic(), time.process_time(), ticks / os.sysconf("SC_CLK_TCK"))

    def since(self, before: "Moment") -> tuple[float, float]:
        """Seconds that have passed, and those in which a processor worked for whichever process worked longer."""
        return self.now - before.now, max(self.here - before.here, self.there - before.there)


async def all_current(running: Running, count: int) -> None:
    """Return when so many nodes have acknowledged what they should have."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        statuses = running.operator.streams.statuses()
        current = sum(status.current for status in statuses.values())
        if current == count:
            return
        assert time.monotonic() < deadline, f"{current} of {len(statuses)} are current"
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
    count = extent.choose(30, 500)
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
            await all_current(first, count)
            full = held_mib()

            server.record.forget()
            opened = first.operator.server.opened
            began = Moment.of(enforcers)
            enforcers.send_signal(CUT)
            while first.operator.server.opened < opened + count:  # noqa: ASYNC110 - a counter sets no event
                await asyncio.sleep(0.05)
            await all_current(first, count)
            cut = Moment.of(enforcers).since(began)
            asked_after_cut = asked(server.record.rows)
        server.record.forget()
        async with operator_of(server, folders["second"]) as second:
            port.write_text(str(second.operator.server.port))
            began = Moment.of(enforcers)
            await all_current(second, count)
            replaced = Moment.of(enforcers).since(began)
            asked_after_replacement = asked(server.record.rows)
            again = held_mib()
    reviews = asked_after_replacement.pop("create tokenreviews")
    for what, (passed, worked) in {"were cut off": cut, "have a new operator": replaced}.items():
        record_property(f"seconds until {count} enforcers that {what} are current", passed)
        record_property(f"seconds of a processor until {count} enforcers that {what} are current", worked)
        assert min(passed, worked) < SECONDS, what
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
