"""policyctl status, through a port-forward: what the operator tells, for people and for scripts."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from click.testing import CliRunner, Result

from compilers.model.cluster import Cluster
from policy_controller.cli.main import main
from policy_controller.cli.status_document import read_status
from policy_controller.cli.tests.installed import Installed, installed, pod
from policy_controller.cli.tests.running import policyctl
from policy_controller.controller.status import Condition, status_document
from policy_controller.controller.streams import NodeStreams

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


async def run(there: Installed, *flags: str) -> Result:
    """In a thread: the cluster is in this loop."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["status", *reached(there), *flags])


def reached(there: Installed) -> tuple[str, ...]:
    return f"--kubeconfig={there.kubeconfig}", f"--admin-port={there.port}"


@pytest.mark.parametrize(("told", "code", "text"), SHOWN)
async def test_people_see_nodes_and_policies_and_scripts_the_exit_code(
    tmp_path: Path, told: dict[str, Any], code: int, text: str
) -> None:
    async with installed(tmp_path, {"/status": msgspec.json.encode(told)}) as there:
        done = await run(there)
    assert (done.exit_code, done.stderr) == (code, "")
    assert done.stdout == text


async def test_json_is_the_operators_document_as_it_came(tmp_path: Path) -> None:
    told = msgspec.json.encode(status(connected("node-a"), later={"than": "this \x9b2J\u202e"}))
    async with installed(tmp_path, {"/status": told}) as there:
        done = await run(there, "--output=json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(told)
    # The rest is for terminals, some of which take U+009B for the beginning of a command.
    assert done.stdout.isascii()


@pytest.mark.parametrize("told", [b"", b"<html>", b'{"schema": "status/v2"}', b"[]"])
async def test_an_answer_that_is_no_status_is_told_in_one_sentence(tmp_path: Path, told: bytes) -> None:
    async with installed(tmp_path, {"/status": told}) as there:
        done = await run(there)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: the operator's status cannot be read: ")
    assert done.stderr.count("\n") == 1


async def test_what_the_cluster_says_is_made_harmless_for_the_terminal(tmp_path: Path) -> None:
    pods = [pod("a", phase="Pending\x1b[31m")]
    async with installed(tmp_path, {}, pods=pods) as there:
        done = await run(there)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "a is Pending\\x1b[31m" in done.stderr
    assert "\x1b" not in done.stderr


async def test_the_installed_script_writes_nothing_beside_the_status(tmp_path: Path) -> None:
    told = msgspec.json.encode(status(connected("node-a")))
    async with installed(tmp_path, {"/status": told}) as there:
        done = await asyncio.to_thread(policyctl, "status", *reached(there))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"1 of 1 nodes")


def test_the_operators_own_document_is_read() -> None:
    condition = Condition(synced=False, kubernetes="v1.33.0", not_ready=["a"], warnings=["b"])
    streams = NodeStreams()
    streams.open("node-a")
    told = status_document(Cluster(), streams, (), condition)
    read = read_status(msgspec.json.encode(told))
    assert (read.synced, read.not_ready, read.warnings) == (False, ["a"], ["b"])
    assert [(node.name, node.connected, node.current) for node in read.nodes] == [("node-a", True, False)]
