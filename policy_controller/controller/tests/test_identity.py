"""A whole operator and an API server's own tokens: who is served, and what the operator shows of itself."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import grpc
import pytest

from policy_controller.controller.identity import files
from policy_controller.controller.tests import enforcers
from policy_controller.controller.tests.objects import new, pod
from policy_controller.controller.tests.running import Running, operator_of
from policy_controller.controller.tests.scripted_node import ScriptedNode, node, open_stream
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiError, ApiServer
from policy_controller.testing.api_server.faults import Fault, Faults, Refuse, Requests
from policy_controller.testing.api_server.features import Features, NodeClaims
from policy_controller.testing.credentials import DAY, NAMESPACE, Authority
from policy_controller.wire.channel import AUDIENCE
from policy_controller.wire.convert import encode_node
from policy_controller.wire.messages import FreshToken, Hello

Mint = Callable[[ApiServer], str]
POD = "enforcer-node-1"


def of_another_account(server: ApiServer) -> str:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other"}}
    server.create({**account, "metadata": {"name": "other", "namespace": NAMESPACE}})
    return server.token("other", NAMESPACE, audience=AUDIENCE)


STRANGERS: dict[str, tuple[Mint, grpc.StatusCode, str]] = {
    "for the API server": (
        lambda server: server.token(enforcers.ACCOUNT, NAMESPACE, pod=POD),
        grpc.StatusCode.UNAUTHENTICATED,
        "other-audience",
    ),
    "that has expired": (
        lambda server: enforcers.token_of(server, "node-1", seconds=-1),
        grpc.StatusCode.UNAUTHENTICATED,
        "expired-token",
    ),
    "of another account": (of_another_account, grpc.StatusCode.PERMISSION_DENIED, "other-account"),
    "of no pod": (
        lambda server: server.token(enforcers.ACCOUNT, NAMESPACE, audience=AUDIENCE),
        grpc.StatusCode.PERMISSION_DENIED,
        "no-node",
    ),
    "of another node": (
        lambda server: enforcers.token_of(server, "node-2"),
        grpc.StatusCode.PERMISSION_DENIED,
        "other-node",
    ),
    "that somebody forged": (
        lambda server: enforcers.token_of(server, "node-1")[:-8] + "AAAAAAAA",
        grpc.StatusCode.UNAUTHENTICATED,
        "invalid-token",
    ),
}


OF_REVIEWS = Requests(resource="tokenreviews.authentication.k8s.io")
UNCHECKED = (grpc.StatusCode.UNAVAILABLE, "unchecked")


def asked(running: Running) -> int:
    """How often the API server was asked whose a token is."""
    return running.operator.reviewer.outcomes.total()


def asked_more_than(running: Running, often: int) -> bool:
    return asked(running) > often


async def test_an_api_servers_tokens_are_told_apart(server: ApiServer, tmp_path: Path) -> None:
    async with operator_of(server, tmp_path) as running:
        for name, (mint, code, reason) in STRANGERS.items():
            # All others are refused before they have said anything; grpc.aio fails at a write that comes too late.
            hello = [encode_node(Hello("node-1"))] if reason == "other-node" else []
            async with open_stream(running.door, hello, mint(server)) as stream:
                stranger = ScriptedNode("node-1", stream)
                error = await stranger.ending()
            assert error.code() is code, name
            assert (error.details() or "").startswith(f"{reason}: "), name
            assert stranger.heard == []
        _, metrics = await running.admin("/metrics")
        for _, _, reason in STRANGERS.values():
            assert f'policy_controller_refused_streams_total{{reason="{reason}"}} 1.0' in metrics
        async with node(running.door, "node-1") as one:
            await one.apply()


async def test_a_stream_whose_pod_was_deleted_ends_when_it_is_reviewed(
    server: ApiServer, tmp_path: Path
) -> None:
    async with operator_of(server, tmp_path) as running:
        token = running.door.token_of("node-1")
        async with open_stream(running.door, [encode_node(Hello("node-1"))], token) as stream:
            one = ScriptedNode("node-1", stream)
            await one.apply()
            await one.say(FreshToken(token))
            await eventually(lambda: asked(running) == 2)
            assert running.operator.streams.nodes == ("node-1",)
            server.delete("Pod", POD, NAMESPACE)
            await one.say(FreshToken(token))
            error = await one.ending()
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_an_api_server_that_refuses_to_say_ends_no_stream(
    server: ApiServer, faults: Faults, tmp_path: Path
) -> None:
    async with operator_of(server, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()
        for status in (401, 403, 500, 503):
            failed = asked(running)
            faults.begin(Fault(Refuse(status), OF_REVIEWS))
            await one.say(FreshToken(running.door.token_of("node-1")))
            await eventually(partial(asked_more_than, running, failed))
            async with open_stream(running.door, token=running.door.token_of("node-2")) as stream:
                error = await ScriptedNode("node-2", stream).ending()
            assert (error.code(), (error.details() or "").split(":")[0]) == UNCHECKED
            faults.clear()
        server.create(new(pod("web", address="10.0.0.1", node="node-1")))
        await one.apply()
        assert one.rule_set == running.wanted("node-1")


@pytest.fixture
async def older() -> AsyncIterator[ApiServer]:
    """A cluster whose tokens do not name the node."""
    async with ApiServer.running(validate=False, features=Features(node_claims=NodeClaims.NONE)) as running:
        enforcers.install(running, ("node-1", "node-2"))
        yield running


async def test_on_an_older_cluster_the_node_is_that_of_the_tokens_pod(
    older: ApiServer, tmp_path: Path
) -> None:
    async with operator_of(older, tmp_path) as running, node(running.door, "node-1") as one:
        await one.apply()
        token = running.door.token_of("node-1")
        async with open_stream(running.door, [encode_node(Hello("node-2"))], token) as stream:
            error = await ScriptedNode("node-2", stream).ending()
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert running.operator.streams.nodes == ("node-1",)


async def test_a_certificate_of_ones_own_is_shown_and_no_authority_is_made(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOOK_SECONDS", 0.05)
    first, second = Authority(), Authority()
    chain, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def lay(authority: Authority) -> None:
        shown = authority.certificate(valid_for=DAY)
        chain.write_bytes(shown.chain)
        key.write_bytes(shown.key)

    lay(first)
    async with operator_of(server, tmp_path, tls=(chain, key)) as running:
        way = replace(running.door, trust=first.trust())
        async with node(way, "node-1") as one:
            await one.apply()
            lay(second)
            await eventually(lambda: running.operator.identity.certificate().chain == chain.read_bytes())
            async with node(replace(way, trust=second.trust()), "node-2") as other:
                await other.apply()
            async with open_stream(way, token=way.token_of("node-2")) as refused:
                error = await ScriptedNode("node-2", refused).ending()
                assert error.code() is grpc.StatusCode.UNAVAILABLE
            server.create(new(pod("web", address="10.0.0.1", node="node-1")))
            await one.apply()
            assert one.rule_set == running.wanted("node-1")
    for kind in ("Secret", "ConfigMap"):
        with pytest.raises(ApiError):
            server.get(kind, enforcers.AUTHORITY, NAMESPACE)


async def test_the_metrics_tell_when_the_certificate_expires(server: ApiServer, tmp_path: Path) -> None:
    async with operator_of(server, tmp_path) as running:
        ends = running.operator.identity.ends
        assert ends is not None
        _, metrics = await running.admin("/metrics")
    (line,) = (line for line in metrics.splitlines() if line.startswith("policy_controller_certificate"))
    assert abs(float(line.split()[1]) - ends.timestamp()) < 1.0
