"""policyctl wait: what satisfies it, and what it says and returns otherwise."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner, Result

from policy_controller import bounded
from policy_controller.cli.main import main
from policy_controller.cli.reach import policies
from policy_controller.cli.reach.policies import Held, Scope, held
from policy_controller.cli.reach.way import NotReached, Way
from policy_controller.cli.tests.test_status import row, status
from policy_controller.controller.tests import enforcers, objects
from policy_controller.controller.tests.objects import allow_from, new
from policy_controller.controller.tests.running import Running, operator_of
from policy_controller.controller.tests.scripted_node import ScriptedNode, node
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import Fault, Faults, Requests, Stall, Verb


@pytest.fixture(autouse=True)
def no_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


async def run(*words: str) -> Result:
    """In a thread: what it asks is in this loop."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["wait", *words])


@asynccontextmanager
async def cluster(folder: Path, *names: str) -> AsyncIterator[tuple[ApiServer, str]]:
    """An API server with policies of these names in `shop`, and the flag that leads there."""
    async with ApiServer.running() as server:
        server.create(new(objects.namespace("shop")))
        for name in names:
            server.create(new(objects.policy(name)))
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(server.kubeconfig())
        yield server, f"--kubeconfig={kubeconfig}"


@asynccontextmanager
async def operator(say: Callable[[int, frozenset[str]], Awaitable[bytes]]) -> AsyncIterator[str]:
    """What an operator answers, by how often it was asked, and about which policies; the flag that leads there."""
    asked = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(body=await say(asked, frozenset(request.query.getall("policy"))))

    application = web.Application()
    application.add_routes([web.get("/status", answer)])
    async with bounded.serving(application, "127.0.0.1", 0) as (_, port):
        yield f"--admin=http://127.0.0.1:{port}"


def saying(*rows: dict[str, Any]) -> Callable[[int, frozenset[str]], Awaitable[bytes]]:
    """Each row once, and the last for ever."""

    async def say(asked: int, _: frozenset[str]) -> bytes:
        return msgspec.json.encode(status(policies=[rows[min(asked, len(rows)) - 1]], policyCount=1))

    return say


LATER: Final = 1 << 40
BEHIND: Final = {"node": "node-b", "reason": "is not connected"}
WAITING: Final = row("deny", resourceVersion=LATER, state="waiting", enforcedOn=1, behind=[BEHIND])
ENFORCED: Final = row("deny", resourceVersion=LATER)
ENDS: Final = [
    (ENFORCED, 0, "is enforced on 2 of 2 nodes"),
    (row("deny", resourceVersion=LATER, state="unused", nodes=0, enforcedOn=0), 0, "isolates no pod"),
    (WAITING, 1, "is enforced on 1 of 2 nodes; node-b is not connected"),
    (row("deny", resourceVersion=1), 1, "is not known to the operator in version"),
    (row("other", resourceVersion=LATER), 1, "is not known to the operator in version"),
    (
        row("deny", resourceVersion=LATER, state="closed", faults=[{"field": "spec.x", "reason": "\x1b[2J"}]),
        1,
        r"cannot be enforced as written, so pods that it selects are closed; spec.x: \x1b[2J",
    ),
]


@pytest.mark.parametrize(("told", "code", "words"), ENDS)
async def test_the_last_state_is_printed_and_the_exit_code_says_whether_it_is_enforced(
    tmp_path: Path, told: dict[str, Any], code: int, words: str
) -> None:
    async with cluster(tmp_path, "deny") as (_, way), operator(saying(told)) as admin:
        done = await run(way, admin, "--for=enforced", "netpol/deny", "-n", "shop", "--timeout=0")
    assert done.exit_code == code
    assert done.stdout.startswith("networkpolicy/deny of shop ")
    assert words in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ("" if code == 0 else "Error: 1 of 1 policies not enforced within 0 s\n")


STALE: Final = "Pods have not been listed for 100 s."
UNREADY: Final = [({"notReady": [STALE]}, STALE), ({"synced": False}, "It has not heard of the whole")]


@pytest.mark.parametrize("state", ["enforced", "unused"])
@pytest.mark.parametrize(("condition", "words"), UNREADY)
async def test_an_operator_that_does_not_know_the_cluster_as_it_is_satisfies_nothing(
    tmp_path: Path, condition: dict[str, Any], words: str, state: str
) -> None:
    told = status(policies=[row("deny", resourceVersion=LATER, state=state)], policyCount=1, **condition)

    async def say(asked: int, _: frozenset[str]) -> bytes:
        return msgspec.json.encode(told)

    async with cluster(tmp_path, "deny") as (_, way), operator(say) as admin:
        done = await run(way, admin, "--for=enforced", "netpol/deny", "-n", "shop", "--timeout=0")
    assert done.exit_code == 1
    assert f"the operator is not ready: {words}" in done.stdout


async def test_it_returns_as_soon_as_the_state_is_reached(tmp_path: Path) -> None:
    async with cluster(tmp_path, "deny") as (_, way), operator(saying(WAITING, WAITING, ENFORCED)) as admin:
        async with asyncio.timeout(20):
            done = await run(
                way, admin, "--for=enforced", "networkpolicy/deny", "--namespace=shop", "--timeout=1m"
            )
    assert done.exit_code == 0, done.output


async def test_only_what_is_not_enforced_yet_is_asked_about_again(tmp_path: Path) -> None:
    asked_about: list[frozenset[str]] = []

    async def say(asked: int, about: frozenset[str]) -> bytes:
        asked_about.append(about)
        names = [policy.partition("/")[2] for policy in about]
        late = row("b", resourceVersion=LATER, state="waiting", enforcedOn=0)
        rows = [late if name == "b" and asked < 3 else row(name, resourceVersion=LATER) for name in names]
        return msgspec.json.encode(status(policies=rows, policyCount=len(rows)))

    async with cluster(tmp_path, "a", "b") as (_, way), operator(say) as admin:
        done = await run(way, admin, "--for=enforced", "networkpolicies", "--all", "-A")
    assert done.exit_code == 0, done.output
    assert [sorted(about) for about in asked_about] == [["shop/a", "shop/b"], ["shop/b"], ["shop/b"]]


async def test_of_many_policies_few_are_asked_about_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "PAGE", 10)
    names = [f"p{number:03}-{'x' * 200}" for number in range(45)]

    async def say(_: int, about: frozenset[str]) -> bytes:
        rows = [row(policy.partition("/")[2], resourceVersion=LATER) for policy in about]
        return msgspec.json.encode(status(policies=rows, policyCount=len(rows)))

    async with cluster(tmp_path, *names) as (_, way), operator(say) as admin:
        done = await run(way, admin, "--for=enforced", "netpol", "--all", "--namespace=shop")
    assert (done.exit_code, done.stdout.count("\n")) == (0, len(names))


async def test_without_a_namespace_it_is_that_of_the_context(tmp_path: Path) -> None:
    async with cluster(tmp_path, "deny") as (_, way), operator(saying(ENFORCED)) as admin:
        assert (await run(way, admin, "--for=enforced", "netpol/deny", "--timeout=0")).exit_code == 2
        kubeconfig = tmp_path / "kubeconfig"
        document = yaml.safe_load(kubeconfig.read_text())
        document["contexts"][0]["context"]["namespace"] = "shop"
        kubeconfig.write_text(yaml.safe_dump(document))
        done = await run(way, admin, "--for=enforced", "netpol/deny", "--timeout=0")
    assert (done.exit_code, done.stdout) == (0, "networkpolicy/deny of shop is enforced on 2 of 2 nodes\n")


HELD: Final = {
    "metadata": {"resourceVersion": ""},
    "items": [{"metadata": {"name": "deny", "namespace": "shop", "resourceVersion": "7"}}],
}
KUBECTL: Final = f"""#!{sys.executable}
import sys
assert sys.argv[1:] == EXPECTED, sys.argv
print({msgspec.json.encode(HELD).decode()!r})
"""
SPOKEN: Final = [
    (Scope("shop"), "deny", ["--namespace=shop", "--field-selector=metadata.name=deny"]),
    (Scope(everywhere=True), None, ["--all-namespaces"]),
    (Scope(), None, []),
]


@pytest.mark.parametrize(("scope", "name", "words"), SPOKEN)
async def test_where_the_api_server_is_not_reached_kubectl_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: Scope, name: str | None, words: list[str]
) -> None:
    async with ApiServer.running() as server:
        (tmp_path / "kubeconfig").write_text(server.kubeconfig())
    way = Way("policy-controller", 9471, str(tmp_path / "kubeconfig"), None)
    with pytest.raises(NotReached, match="the API server is not reached"):
        await held(way, scope, name)
    given = [
        f"--kubeconfig={way.kubeconfig}",
        "get",
        "networkpolicies.networking.k8s.io",
        "-o",
        "json",
        *words,
    ]
    script = tmp_path / "kubectl"
    script.write_text(KUBECTL.replace("EXPECTED", repr(given)))
    script.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert await held(way, scope, name) == (Held("shop", "deny", 7),)


USAGE: Final = [
    (["--for=enforced", "netpol/none"], "there is no networkpolicy none in namespace shop"),
    (["--for=enforced", "netpol", "--all", "--namespace=empty"], "there is no networkpolicy"),
    (["--for=enforced"], "name policies as networkpolicy/NAME, or all of them by --all"),
    (["--for=enforced", "netpol/a", "--all"], "name policies as networkpolicy/NAME, or all of them by --all"),
    (["--for=enforced", "pod/a"], "'pod' is no networkpolicy"),
    (["--for=enforced", "a"], "'a' is no networkpolicy"),
    (["--for=enforced", "netpol/a,b"], "'netpol/a,b' is not of the form networkpolicy/NAME"),
    (["--for=enforced", "netpol/\x1b[2J"], "is not of the form networkpolicy/NAME"),
    (["--for=enforced", "netpol/a", "-A"], "--all-namespaces goes with --all"),
    (["--for=enforced", "netpol/a", "--namespace=a/b"], "'a/b' is not the name of a namespace"),
    (["--for=enforced", "netpol/a", "--timeout=soon"], "'soon' is not a duration like 60s or 1m30s"),
    (["--for=enforced", "netpol/a", "--timeout=25h"], "'25h' is more than 24h"),
    (["--for=ready", "netpol/a"], "'ready' is not 'enforced'"),
    (["netpol/a"], "Missing option '--for'"),
]


@pytest.mark.parametrize(("words", "said"), USAGE)
async def test_what_cannot_be_waited_for_is_told(tmp_path: Path, words: list[str], said: str) -> None:
    namespace = (
        [] if any(word.startswith("--namespace") or word == "-A" for word in words) else ["--namespace=shop"]
    )
    async with cluster(tmp_path, "deny") as (server, way):
        server.create(new(objects.namespace("empty")))
        done = await run(way, "--admin=http://127.0.0.1:1", *words, *namespace)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in re.sub(r"\s+", " ", done.stderr)
    assert "\x1b" not in done.stderr


async def test_an_operator_that_is_not_reached_is_waited_for_and_then_told(tmp_path: Path) -> None:
    async with cluster(tmp_path, "deny") as (_, way):
        done = await run(
            way,
            "--admin=http://127.0.0.1:1",
            "--for=enforced",
            "netpol/deny",
            "--namespace=shop",
            "--timeout=50ms",
        )
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: no answer: ")


@asynccontextmanager
async def operated(folder: Path, faults: Faults) -> AsyncIterator[tuple[ApiServer, Running, ScriptedNode]]:
    """A real operator, and a node with one pod that acknowledges when it is told to."""
    async with ApiServer.running(faults=faults) as server:
        enforcers.install(server, ["node-1"])
        server.create(new(objects.namespace("shop")))
        server.create(new(objects.pod("web", address="10.0.0.1", node="node-1")))
        async with operator_of(server, folder) as running, node(running.door, "node-1") as one:
            await one.apply()
            yield server, running, one


async def test_a_version_that_the_operator_has_not_heard_of_is_waited_for(tmp_path: Path) -> None:
    faults = Faults()
    async with operated(tmp_path, faults) as (server, running, one):
        words = (
            f"--kubeconfig={tmp_path / 'kubeconfig'}",
            f"--admin={running.operator.admin_url}",
            *("--for=enforced", "networkpolicy", "deny", "--namespace=shop"),
        )
        server.create(new(objects.policy("deny")))
        await one.apply()
        done = await run(*words)
        assert done.exit_code == 0, done.output
        # What is in force now is of an earlier version, and nobody tells the operator of the later one.
        faults.begin(Fault(Stall(), Requests(verbs=frozenset({Verb.WATCH}))))
        server.apply(new(objects.policy("deny", allow_from({"app": "other"}))))
        late = await run(*words, "--timeout=300ms")
        assert late.exit_code == 1
        assert "is not known to the operator in version" in late.stdout
        faults.clear()
        waiting = asyncio.create_task(run(*words))
        running.operator.relister.request()
        await one.apply()
        assert (await waiting).exit_code == 0


async def test_a_node_that_does_not_acknowledge_is_named_when_time_runs_out(tmp_path: Path) -> None:
    async with operated(tmp_path, Faults()) as (server, running, one):
        server.create(new(objects.policy("deny")))
        message = await one.hear()
        words = (
            f"--kubeconfig={tmp_path / 'kubeconfig'}",
            f"--admin={running.operator.admin_url}",
            *("--for=enforced", "networkpolicy/deny", "--namespace=shop"),
        )
        late = await run(*words, "--timeout=250ms")
        assert (late.exit_code, late.stdout) == (
            1,
            "networkpolicy/deny of shop is enforced on 0 of 1 nodes; node-1 has not acknowledged it yet\n",
        )
        waiting = asyncio.create_task(run(*words))
        await one.acknowledge(message)
        done = await waiting
        assert (done.exit_code, done.stdout) == (
            0,
            "networkpolicy/deny of shop is enforced on 1 of 1 nodes\n",
        )
