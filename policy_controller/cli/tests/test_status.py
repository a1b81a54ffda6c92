"""policyctl status, through a port-forward: what the operator tells, for people and for scripts."""

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from click.testing import CliRunner, Result

from policy_controller.cli.main import main
from policy_controller.cli.tests.installed import Installed, installed, pod
from policy_controller.cli.tests.running import policyctl

NACK: Final = {
    "at": "2026-01-02T01:01:00Z",
    "generation": 4,
    "cause": "kernel",
    "object": "class ci-1",
    "reason": "File exists",
}


def connected(name: str, **fields: object) -> dict[str, Any]:
    return {
        "name": name,
        "connected": True,
        "connectedSince": "2026-01-01T00:00:00Z",
        "current": True,
        "generationDesired": 3,
        "desiredSince": "2026-01-02T00:00:00Z",
        "generationApplied": 3,
        "appliedSince": "2026-01-02T01:02:01Z",
        "pods": 7,
        "podsWaiting": 1,
        "nacks": 0,
        "lastNack": None,
        **fields,
    }


def status(*nodes: dict[str, Any], **fields: object) -> dict[str, Any]:
    told = {
        "schema": "status/v1",
        "at": "2026-01-02T01:02:05Z",
        "synced": True,
        "nodeCount": len(nodes),
        "currentCount": sum(node.get("current", False) for node in nodes),
        "nodes": nodes,
        "policyCount": 0,
        "faultyCount": 0,
        "states": {},
        "policies": [],
    }
    return told | fields


def row(name: str, **fields: object) -> dict[str, Any]:
    return {
        "namespace": "shop",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": 12,
        "state": "enforced",
        "nodes": 2,
        "enforcedOn": 2,
        "since": "2026-01-02T01:00:05Z",
        "behind": [],
        "faultCount": 0,
        "faults": [],
        "consequence": "",
        **fields,
    }


FAULT: Final = {"field": "spec.ingress[0].ports[0].port", "reason": '"htpp" is not a port name'}
BROKEN: Final = row(
    "web",
    state="closed",
    faultCount=3,
    faults=[FAULT, {"field": "", "reason": "is too large"}],
    consequence="Until it is mended it admits no ingress of the pods it selects.",
)
BEHIND: Final = {"node": "node-b", "reason": "is not connected"}
HOSTILE: Final = "shop\x1b[2J\nroot"

SHOWN: Final = [
    (
        status(
            connected("node-a"),
            connected("b", generationDesired=12, generationApplied=12),
            policyCount=4,
            states={"enforced": 1, "waiting": 2, "unused": 1},
            policies=[
                row("allow", state="waiting", nodes=14, enforcedOn=1, since=None, behind=[BEHIND] * 2),
                row("deny"),
                row("idle", state="unused", nodes=0, enforcedOn=0, since=None),
            ],
        ),
        0,
        """\
2 of 2 nodes enforce the operator's last word
4 policies: 1 enforced, 2 waiting, 0 closed, 1 without pods; 0 with faults
node    connected     current  desired      applied      pods  waiting  last error
node-a  yes (1d ago)  yes      3 (1h ago)   3 (4s ago)   7     1
b       yes (1d ago)  yes      12 (1h ago)  12 (4s ago)  7     1
policy      state     nodes    since                 behind
shop/allow  waiting   1 of 14  -                     node-b is not connected; node-b is not connected; and 11 more
shop/deny   enforced  2 of 2   2026-01-02T01:00:05Z
shop/idle   unused    no pods  -
and 1 policies more
""",
    ),
    (
        status(
            {"name": "node-a", "connected": False},
            connected("node-b", current=False, generationDesired=4, nacks=1, lastNack=NACK),
            nodeCount=3,
        ),
        2,
        """\
0 of 3 nodes enforce the operator's last word
0 policies: 0 enforced, 0 waiting, 0 closed, 0 without pods; 0 with faults
node    connected     current  desired     applied     pods  waiting  last error
node-a  no            -        -           -           -     -
node-b  yes (1d ago)  no       4 (1h ago)  3 (4s ago)  7     1        generation 4 (1m ago), kernel: class ci-1: File exists
and 1 nodes more
""",
    ),
    (
        status(policies=[BROKEN], policyCount=1, faultyCount=1, states={"closed": 1}),
        2,
        """\
0 of 0 nodes enforce the operator's last word
1 policy: 0 enforced, 0 waiting, 1 closed, 0 without pods; 1 with faults
policy    state   nodes   since                 behind
shop/web  closed  2 of 2  2026-01-02T01:00:05Z
shop/web
  spec.ingress[0].ports[0].port: "htpp" is not a port name
  is too large
  and 1 faults more
  Until it is mended it admits no ingress of the pods it selects.
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
1 of 1 nodes enforce the operator's last word
0 policies: 0 enforced, 0 waiting, 0 closed, 0 without pods; 0 with faults
node    connected     current  desired     applied     pods  waiting  last error
node-a  yes (1d ago)  yes      3 (1h ago)  3 (4s ago)  7     1
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
