"""policyctl status, through a port-forward: what the operator tells, for people and for scripts."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from policy_controller import bounded
from policy_controller.cli.main import main
from policy_controller.cli.tests.forwarding_api import ForwardingApi
from policy_controller.cli.tests.running import policyctl

NACK: Final = {"generation": 4, "cause": "kernel", "object": "class ci-1", "reason": "File exists"}


def connected(name: str, **fields: object) -> dict[str, Any]:
    return {
        "name": name,
        "connected": True,
        "current": True,
        "generationDesired": 3,
        "generationAcked": 3,
        "nacks": 0,
        "lastNack": None,
        **fields,
    }


def status(*nodes: dict[str, Any], **fields: object) -> dict[str, Any]:
    told = {"schema": "status/v1", "synced": True, "nodes": nodes, "policyCount": 0, "policies": []}
    return told | fields


FAULT: Final = {"field": "spec.ingress[0].ports[0].port", "reason": '"htpp" is not a port name'}
BROKEN: Final = {
    "namespace": "shop",
    "name": "web",
    "faultCount": 3,
    "faults": [FAULT, {"field": "", "reason": "is too large"}],
    "consequence": "Until it is mended it admits no ingress of the pods it selects.",
}
HOSTILE: Final = "shop\x1b[2J\nroot"

SHOWN: Final = [
    (
        status(connected("node-a"), connected("b", generationDesired=12, generationAcked=12)),
        0,
        """\
2 of 2 nodes enforce the operator's last word; no policy has faults
node    connected  current  desired  acked  nacks  last nack
node-a  yes        yes      3        3      0
b       yes        yes      12       12     0
""",
    ),
    (
        status(
            {"name": "node-a", "connected": False},
            connected("node-b", current=False, generationDesired=4, nacks=1, lastNack=NACK),
        ),
        2,
        """\
0 of 2 nodes enforce the operator's last word; no policy has faults
node    connected  current  desired  acked  nacks  last nack
node-a  no         -        -        -      -
node-b  yes        no       4        3      1      generation 4 (kernel): class ci-1: File exists
""",
    ),
    (
        status(policies=[BROKEN], policyCount=2),
        2,
        """\
0 of 0 nodes enforce the operator's last word; 2 policies have faults
shop/web
  spec.ingress[0].ports[0].port: "htpp" is not a port name
  is too large
  and 1 faults more
  Until it is mended it admits no ingress of the pods it selects.
and 1 policies more with faults
""",
    ),
    (
        status(
            connected("node-a"), notReady=[HOSTILE], warnings=["Kubernetes is old."], later={"than": "this"}
        ),
        2,
        """\
not ready: shop\\x1b[2J\\nroot
warning: Kubernetes is old.
1 of 1 nodes enforce the operator's last word; no policy has faults
node    connected  current  desired  acked  nacks  last nack
node-a  yes        yes      3        3      0
""",
    ),
]


@asynccontextmanager
async def operator(told: bytes, folder: Path) -> AsyncIterator[ForwardingApi]:
    """An operator that tells this, in a pod."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=told)

    application = web.Application()
    application.add_routes([web.get("/status", answer)])
    async with (
        bounded.serving(application, "127.0.0.1", 0) as (_, port),
        ForwardingApi(behind=port).running() as api,
    ):
        api.kubeconfig(folder)
        yield api


async def run(folder: Path, *flags: str) -> Result:
    """In a thread: the cluster is in this loop."""
    words = ["status", f"--kubeconfig={folder / 'kubeconfig'}", *flags]
    return await asyncio.to_thread(CliRunner().invoke, main, words)


@pytest.mark.parametrize(("told", "code", "text"), SHOWN)
async def test_people_see_nodes_and_policies_and_scripts_the_exit_code(
    tmp_path: Path, told: dict[str, Any], code: int, text: str
) -> None:
    async with operator(msgspec.json.encode(told), tmp_path):
        done = await run(tmp_path)
    assert (done.exit_code, done.stderr) == (code, "")
    assert done.stdout == text


async def test_json_is_the_operators_document_as_it_came(tmp_path: Path) -> None:
    told = msgspec.json.encode(status(connected("node-a"), later={"than": "this"}))
    async with operator(told, tmp_path):
        done = await run(tmp_path, "--output=json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(told)


@pytest.mark.parametrize("told", [b"", b"<html>", b'{"schema": "status/v2"}', b"[]"])
async def test_an_answer_that_is_no_status_is_told_in_one_sentence(tmp_path: Path, told: bytes) -> None:
    async with operator(told, tmp_path):
        done = await run(tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the operator's status cannot be read: ")
    assert done.stderr.count("\n") == 1


async def test_what_the_cluster_says_is_made_harmless_for_the_terminal(tmp_path: Path) -> None:
    async with ForwardingApi(refuses={"/pods": 403}).running() as api:
        kubeconfig = api.kubeconfig(tmp_path)
        # The installed script: whatever else it writes to standard error would be seen.
        done = await asyncio.to_thread(policyctl, "status", f"--kubeconfig={kubeconfig}")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"Error: you lack the permission `list` on pods")
    assert b"\\x1b[31m" in done.stderr
    assert b"\x1b" not in done.stderr


async def test_the_installed_script_writes_nothing_beside_the_status(tmp_path: Path) -> None:
    async with operator(msgspec.json.encode(status(connected("node-a"))), tmp_path):
        done = await asyncio.to_thread(policyctl, "status", f"--kubeconfig={tmp_path / 'kubeconfig'}")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"1 of 1 nodes")
