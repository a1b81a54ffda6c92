"""policyctl enforcement: what is written, what is waited for, and what the exit code says."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from compilers.model.settings import CONFIG_MAP
from policy_controller import bounded
from policy_controller.cli.main import main
from policy_controller.cli.tests.installed import MAY_FORWARD, MAY_LIST, NAMESPACE, installed
from policy_controller.cli.tests.test_pages_followed import blocks
from policy_controller.cli.tests.test_status import NACK, connected, status
from policy_controller.controller.tests import enforcers, objects
from policy_controller.controller.tests.objects import new
from policy_controller.controller.tests.running import operator_of
from policy_controller.controller.tests.scripted_node import ScriptedNode, node
from policy_controller.testing.api_server import ApiServer

WITHIN: Final = 15.0
OFF: Final = {"settings": {"enforcement": "off", "existingConnections": "keep"}}
ENFORCED: Final = {"settings": {"enforcement": "enforced", "existingConnections": "keep"}}
MAY_SWITCH: Final = (
    {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [CONFIG_MAP],
        "verbs": ["get", "patch"],
    },
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
)


def on(name: str, enforcement: str | None, **fields: object) -> dict[str, Any]:
    return connected(name, enforcement=enforcement, **fields)


def away(name: str) -> dict[str, Any]:
    return {"name": name, "connected": False}


SHOWN: Final = [
    (
        status(on("a", "enforced"), on("b", "enforced"), **ENFORCED),
        (),
        0,
        "2 of 2 nodes have enforced in force",
    ),
    (status(on("a", "off"), warnings=["It is off."], **OFF), (), 0, "warning: It is off."),
    (status(on("a", "off"), on("b", "enforced"), **OFF), (), 2, "b has enforced"),
    (status(on("a", None), **OFF), (), 2, "a has not answered yet"),
    (status(on("a", "off"), away("b"), **OFF), (), 2, "b is not connected to the operator that was asked"),
    (status(on("a", "off"), nodeCount=9, **OFF), (), 0, "1 of the 1 nodes listed, of 9, have off in force"),
    (status(on("a", "off"), **OFF), ("off",), 0, "1 of 1 nodes have off in force"),
    (status(on("a", "enforced"), **ENFORCED), ("off",), 2, "the operator has not taken over off"),
    (
        status(on("a", "enforced", lastNack=NACK), on("b\x1b[2J", "off"), **OFF),
        ("off",),
        2,
        "a has enforced: generation 4 is refused, class ci-1: File exists",
    ),
]


async def test_nodes_that_connect_after_a_start_of_the_operator_are_waited_for(tmp_path: Path) -> None:
    told = [
        status(away("a"), away("b"), **OFF),
        status(on("a", "off"), away("b"), **OFF),
        status(on("a", "off"), on("b", "off"), **OFF),
    ]
    asked = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(body=msgspec.json.encode(told[min(asked, len(told)) - 1]))

    application = web.Application()
    application.add_routes([web.get("/status", answer)])
    async with (
        bounded.serving(application, "127.0.0.1", 0) as (_, port),
        installed(tmp_path, {}, rules=MAY_SWITCH) as there,
    ):
        done = await run("off", f"--kubeconfig={there.kubeconfig}", f"--admin=http://127.0.0.1:{port}")
    assert (done.exit_code, asked) == (0, len(told)), done.output


@pytest.mark.parametrize(("told", "words", "code", "sentence"), SHOWN)
async def test_people_see_who_has_it_and_scripts_the_exit_code(
    tmp_path: Path, told: dict[str, Any], words: tuple[str, ...], code: int, sentence: str
) -> None:
    rules = (MAY_LIST, MAY_FORWARD, *MAY_SWITCH)
    async with installed(tmp_path, {"/status": msgspec.json.encode(told)}, rules=rules) as there:
        done = await run(
            *words, "--timeout=0", f"--kubeconfig={there.kubeconfig}", f"--admin-port={there.port}"
        )
        assert (done.exit_code, sentence in done.output, "\x1b" in done.output) == (code, True, False)
        if words:
            assert data(there.server) == {"enforcement": "off"}


@pytest.mark.parametrize(("lacking", "verb"), [(0, "patch"), (1, "create")])
async def test_a_permission_that_is_lacking_is_named_and_nothing_is_asked(
    tmp_path: Path, lacking: int, verb: str
) -> None:
    rules = (MAY_LIST, MAY_FORWARD, MAY_SWITCH[1 - lacking])
    async with installed(tmp_path, {"/status": b"{}"}, rules=rules) as there:
        done = await run("off", f"--kubeconfig={there.kubeconfig}", f"--admin-port={there.port}")
        assert done.exit_code == 1
        assert f"you lack the permission `{verb}` on configmaps in namespace {NAMESPACE}" in done.output
        assert "says enforcement" not in done.output


async def test_a_word_that_is_none_is_refused_before_anything_is_written() -> None:
    assert (await run("staged")).exit_code == 2


async def run(*words: str) -> Result:
    """In a thread: what it asks is in this loop."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["enforcement", *words])


def data(server: ApiServer) -> dict[str, str]:
    held: dict[str, str] = server.get("ConfigMap", CONFIG_MAP, NAMESPACE)["data"]
    return held


async def serving(one: ScriptedNode, deaf: set[str]) -> None:
    while True:
        message = await one.hear()
        if one.name not in deaf:
            await one.acknowledge(message)


@asynccontextmanager
async def town(folder: Path, deaf: set[str]) -> AsyncIterator[tuple[ApiServer, tuple[str, ...]]]:
    """A whole operator with two nodes that apply what they hear, but for those in `deaf`."""
    async with ApiServer.running() as server:
        enforcers.install(server, ("node-1", "node-2"))
        server.create(new(objects.namespace("shop")))
        for number in (1, 2):
            server.create(
                new(objects.pod(f"web-{number}", address=f"10.{number}.0.1", node=f"node-{number}"))
            )
        server.create(new(objects.policy("deny")))
        async with (
            operator_of(server, folder) as running,
            node(running.door, "node-1") as one,
            node(running.door, "node-2") as two,
        ):
            tasks = [asyncio.create_task(serving(each, deaf)) for each in (one, two)]
            try:
                yield (
                    server,
                    (f"--kubeconfig={folder / 'kubeconfig'}", f"--admin={running.operator.admin_url}"),
                )
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_switch_is_thrown_on_every_node_and_back_and_other_keys_stay(tmp_path: Path) -> None:
    async with town(tmp_path, set()) as (server, flags):
        for number, state in enumerate(("off", "off", "enforced")):
            done = await run(state, *flags)
            assert (done.exit_code, f"2 of 2 nodes have {state} in force" in done.output) == (0, True), (
                done.output
            )
            assert data(server)["enforcement"] == state
            if number == 0:
                held = server.get("ConfigMap", CONFIG_MAP, NAMESPACE)
                server.apply({**held, "data": held["data"] | {"existingConnections": "cut"}})
        assert data(server) == {"enforcement": "enforced", "existingConnections": "cut"}
        shown = await run(*flags)
        assert (shown.exit_code, "enforcement is enforced" in shown.output) == (0, True)


async def test_the_lines_of_the_page_do_the_same_with_kubectl(tmp_path: Path, kubectl: Path) -> None:
    off, back = blocks("switch.md", "With kubectl")
    words = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "PATH": f"{kubectl.parent}:{os.environ['PATH']}"}
    async with town(tmp_path, set()) as (server, flags):
        for script, state in ((off, "off"), (back, "enforced")):
            shell = await asyncio.create_subprocess_exec("sh", "-e", "-c", script, env=os.environ | words)
            assert await shell.wait() == 0
            assert data(server) == {"enforcement": state}
            async with asyncio.timeout(WITHIN):
                while f"2 of 2 nodes have {state} in force" not in (await run(*flags)).output:
                    pass


async def test_a_node_that_does_not_apply_it_is_named_when_time_is_up(tmp_path: Path) -> None:
    deaf: set[str] = set()
    async with town(tmp_path, deaf) as (_, flags):
        await run("enforced", *flags)
        deaf.add("node-2")
        done = await run("off", "--timeout=4s", *flags)
        assert done.exit_code == 2
        assert "1 of 2 nodes have off in force" in done.output
        assert "node-2 has enforced" in done.output
