"""The operator's process under faults that last longer than all its pauses together, with those as they are.

Each row has an API server and an operator of its own, and all of them run at once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from compilers.ruleset.rule_set import RuleSet
from policy_controller.controller import api, handlers, relist, watches
from policy_controller.controller.tests.enforcers import door, install
from policy_controller.controller.tests.objects import namespace, new, pod, policy
from policy_controller.controller.tests.scripted_node import Door, node
from policy_controller.controller.tests.test_main import answer, answers, free_port, operator_process
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import (
    Fault,
    Faults,
    Garbage,
    Hang,
    Refuse,
    Requests,
    Reset,
    StaleList,
    Verb,
    What,
)

Record = Callable[[str, object], None]

LASTING_SECONDS = sum(handlers.ERROR_BACKOFFS) + handlers.ERROR_BACKOFFS[-1] + 5.0
RECOVERY_SECONDS = max(relist.BACKOFF_SECONDS[-1] * 1.5, watches.BACKOFF_SECONDS[-1]) + 5.0
"""From the end of a fault until a change made meanwhile is in force: the longest pause, and a little."""
ROWS: dict[str, tuple[What, float]] = {
    "401": (Refuse(401), RECOVERY_SECONDS),
    "403": (Refuse(403), RECOVERY_SECONDS),
    "410": (Refuse(410), RECOVERY_SECONDS),
    "429": (Refuse(429, retry_after=5), RECOVERY_SECONDS),
    "500": (Refuse(500), RECOVERY_SECONDS),
    "503": (Refuse(503), RECOVERY_SECONDS),
    "reset": (Reset(), RECOVERY_SECONDS),
    "a web page": (Garbage(), RECOVERY_SECONDS),
    "hang": (Hang(), RECOVERY_SECONDS + api.SECONDS),
    "stale lists": (StaleList(1), RECOVERY_SECONDS),
}


async def snapshot(way: Door) -> RuleSet:
    """What a node that connects now is told."""
    async with node(way, "node-1") as one:
        await one.apply()
        assert one.rule_set is not None
        return one.rule_set


async def metrics(port: int) -> list[str]:
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as response:
        return (await response.text()).splitlines()


async def recovered(way: Door, port: int, before: RuleSet) -> None:
    """Returns once the change is in force, the deletion that was missed is counted, and all kinds are watched."""
    wanted = {
        'policy_controller_repairs_total{kind="NetworkPolicy",what="removed"} 1.0',
        "policy_controller_watches 4.0",
    }
    while not wanted <= set(await metrics(port)) or await snapshot(way) == before:  # noqa: ASYNC110 - a process has no event
        await asyncio.sleep(0.2)


async def survived(folder: Path, what: What, limit: float) -> float:
    """One row; returns the seconds from the end of the fault to its recovery."""
    faults, loop = Faults(), asyncio.get_running_loop()
    port, listen = await free_port(), await free_port()
    folder.mkdir()  # noqa: ASYNC240 - nothing else runs yet that would have to wait for it
    async with ApiServer.running(faults=faults) as server:
        install(server, ["node-1"])
        server.create(new(namespace("shop")))
        server.create(new(policy("deny")))
        server.create(new(pod("web", address="10.0.0.1", node="node-1")))
        (folder / "kubeconfig").write_text(server.kubeconfig())
        async with operator_process(folder, port, listen, LASTING_SECONDS + limit + 60.0) as process:
            await answers(f"http://127.0.0.1:{port}/readyz", 200)
            # The token is the same throughout: a node that comes back during the fault is known by what was said of it.
            opened = door(server, listen)
            token = opened.token_of("node-1")
            way = replace(opened, token_of=lambda _: token)
            before = await snapshot(way)
            assert before.isolates
            faults.begin(Fault(what))
            faults.begin(Fault(Reset(), Requests(verbs=frozenset({Verb.WATCH})), times=0))
            if isinstance(what, StaleList):
                # Watches that go on would tell of the change.
                faults.begin(Fault(Refuse(503), Requests(verbs=frozenset({Verb.WATCH}))))
            server.delete("NetworkPolicy", "deny", "shop")
            server.create(new(policy("late")))
            await asyncio.sleep(LASTING_SECONDS)
            assert await snapshot(way) == before
            assert await answer(f"http://127.0.0.1:{port}/healthz") == 200
            faults.clear()
            server.compact()
            began = loop.time()
            async with asyncio.timeout(limit):
                await recovered(way, port, before)
            took = loop.time() - began
            assert process.returncode is None
            process.terminate()
            await process.communicate()
            assert process.returncode == 0
    return took


@pytest.mark.whole
@pytest.mark.timeout(400)
async def test_faults_longer_than_every_pause_are_survived(tmp_path: Path, record_property: Record) -> None:
    async with asyncio.TaskGroup() as group:
        took = {
            name: group.create_task(survived(tmp_path / str(number), what, limit), name=name)
            for number, (name, (what, limit)) in enumerate(ROWS.items())
        }
    for name, task in took.items():
        record_property(f"seconds from the end of a long fault to recovery, {name}", task.result())
    record_property("faults of the API server, survived by the operator", len(took))
