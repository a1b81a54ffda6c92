"""Tokens of service accounts: what they say, whom they stand for, and when they end."""

import base64
import datetime
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.features import Features, NodeClaims
from policy_controller.testing.api_server.tests.raw import RawClient, pod
from policy_controller.testing.api_server.tests.samples import sample

REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
TOKENS = "/api/v1/namespaces/default/serviceaccounts/web/token"
API = "https://kubernetes.default.svc.cluster.local"
EXTRA = "authentication.kubernetes.io"
POD = {"kind": "Pod", "apiVersion": "v1", "name": "web"}


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def now(self) -> datetime.datetime:
        return self.time


@asynccontextmanager
async def town(
    clock: Hand | None = None, claims: NodeClaims = NodeClaims.IN_TOKENS
) -> AsyncIterator[tuple[ApiServer, RawClient]]:
    """A server with a node, an account on it and a pod of that account."""
    server = ApiServer(clock=clock, features=Features(node_claims=claims))
    server.create(sample("v1", "Node", "node-a"))
    server.create(sample("v1", "ServiceAccount"))
    server.create(web())
    async with server.listening("127.0.0.1", 0), aiohttp.ClientSession(server.url) as session:
        yield server, RawClient(session)


def web(node: str = "node-a") -> dict[str, Any]:
    made = pod("web", node=node)
    made["spec"]["serviceAccountName"] = "web"
    return made


async def asked(client: RawClient, **spec: object) -> str:
    answer = await client.post(TOKENS, {"spec": spec})
    assert answer.code == 201, answer.body
    token: str = answer.body["status"]["token"]
    return token


async def reviewed(client: RawClient, token: str, *audiences: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
    status: dict[str, Any] = (await client.post(REVIEWS, {"spec": spec})).body["status"]
    return status


def claims_of(token: str) -> Any:  # noqa: ANN401 - any JSON value
    header, claims, signature = token.split(".")
    assert header
    assert signature
    return msgspec.json.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))


def uid_of(server: ApiServer, kind: str, name: str) -> str:
    uid: str = server.get(kind, name)["metadata"]["uid"]
    return uid


async def test_token_claims_its_account_pod_and_node() -> None:
    clock = Hand()
    async with town(clock) as (server, client):
        claims = claims_of(await asked(client, audiences=["a"], boundObjectRef=POD))
        identifier = claims.pop("jti")
        begun = int(clock.time.timestamp())
        uids = [
            uid_of(server, kind, name)
            for kind, name in (("ServiceAccount", "web"), ("Pod", "web"), ("Node", "node-a"))
        ]
    assert identifier
    assert claims == {
        "aud": ["a"],
        "exp": begun + 3600,
        "iat": begun,
        "iss": API,
        "nbf": begun,
        "sub": "system:serviceaccount:default:web",
        "kubernetes.io": {
            "namespace": "default",
            "serviceaccount": {"name": "web", "uid": uids[0]},
            "pod": {"name": "web", "uid": uids[1]},
            "node": {"name": "node-a", "uid": uids[2]},
        },
    }


async def test_review_tells_of_account_pod_and_node() -> None:
    async with town() as (server, client):
        token = await asked(client, boundObjectRef=POD)
        status = await reviewed(client, token)
        uids = {kind: uid_of(server, kind, name) for kind, name in (("Pod", "web"), ("Node", "node-a"))}
        account = uid_of(server, "ServiceAccount", "web")
    assert status == {
        "authenticated": True,
        "audiences": [API],
        "user": {
            "username": "system:serviceaccount:default:web",
            "uid": account,
            "groups": ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"],
            "extra": {
                f"{EXTRA}/credential-id": [f"JTI={claims_of(token)['jti']}"],
                f"{EXTRA}/node-name": ["node-a"],
                f"{EXTRA}/node-uid": [uids["Node"]],
                f"{EXTRA}/pod-name": ["web"],
                f"{EXTRA}/pod-uid": [uids["Pod"]],
            },
        },
    }


async def test_older_cluster_names_pods_and_no_nodes() -> None:
    async with town(claims=NodeClaims.NONE) as (_, client):
        token = await asked(client, boundObjectRef=POD)
        status = await reviewed(client, token)
        to_node = {"spec": {"boundObjectRef": {**POD, "kind": "Node", "name": "node-a"}}}
        assert (await client.post(TOKENS, to_node)).code == 400
    assert set(status["user"]["extra"]) == {f"{EXTRA}/pod-name", f"{EXTRA}/pod-uid"}
    assert set(claims_of(token)["kubernetes.io"]) == {"namespace", "pod", "serviceaccount"}


async def test_pod_that_is_not_on_a_node_yet_has_no_node_in_its_token() -> None:
    async with town() as (server, client):
        for node, named in (("", None), ("node-b", ["node-b"])):
            server.delete("Pod", "web")
            server.create(web(node))
            extra = (await reviewed(client, await asked(client, boundObjectRef=POD)))["user"]["extra"]
            assert (extra.get(f"{EXTRA}/node-name"), f"{EXTRA}/node-uid" in extra) == (named, False)


async def test_token_stands_for_its_account_until_it_expires() -> None:
    clock = Hand()
    async with town(clock) as (_, client):
        made = (await client.post(TOKENS, {"spec": {"expirationSeconds": 600}})).body
        assert made["status"]["expirationTimestamp"] == "2026-01-01T00:10:00Z"
        assert made["spec"] == {"audiences": [API], "expirationSeconds": 600}
        clock.time += datetime.timedelta(seconds=599)
        assert (await reviewed(client, made["status"]["token"]))["authenticated"] is True
        clock.time += datetime.timedelta(seconds=1)
        assert await reviewed(client, made["status"]["token"]) == {
            "user": {},
            "error": "[invalid bearer token, service account token has expired]",
        }


async def test_token_made_in_process_may_have_any_life() -> None:
    async with town() as (server, client):
        for seconds, error in ((5, ""), (-1, "service account token has expired")):
            token = server.token("web", audience="a", pod="web", seconds=seconds)
            status = await reviewed(client, token, "a")
            assert (error in status.get("error", ""), status.get("authenticated", False)) == (True, not error)
            assert claims_of(token)["kubernetes.io"]["node"]["name"] == "node-a"


def replaced(kind: str, document: Callable[[], Mapping[str, Any]]) -> Callable[[ApiServer], None]:
    def change(server: ApiServer) -> None:
        server.delete(kind, "web")
        server.create(dict(document()))

    return change


def overdue(server: ApiServer) -> None:
    """Has the pod be deleted without its node ever saying so."""
    server.delete("Pod", "web", grace_seconds=30)


GONE: list[tuple[str, Callable[[ApiServer], None], str]] = [
    ("pod gone", lambda server: server.delete("Pod", "web"), "service account token has been invalidated"),
    ("pod replaced", replaced("Pod", web), "pod UID"),
    ("pod overdue", overdue, "service account token has been invalidated"),
    (
        "account gone",
        lambda server: server.delete("ServiceAccount", "web"),
        'serviceaccounts "web" not found',
    ),
    ("account replaced", replaced("ServiceAccount", lambda: sample("v1", "ServiceAccount")), "account UID"),
]


@pytest.mark.parametrize(("change", "why"), [row[1:] for row in GONE], ids=[row[0] for row in GONE])
async def test_token_ends_with_what_it_is_bound_to(change: Callable[[ApiServer], None], why: str) -> None:
    clock = Hand()
    async with town(clock) as (server, client):
        token = await asked(client, boundObjectRef=POD)
        assert (await reviewed(client, token))["authenticated"] is True
        change(server)
        clock.time += datetime.timedelta(seconds=91)
        status = await reviewed(client, token)
    assert "authenticated" not in status
    assert why in status["error"]


async def test_token_does_not_end_with_the_node_of_its_pod() -> None:
    async with town() as (server, client):
        token = await asked(client, boundObjectRef=POD)
        alone = await asked(client, boundObjectRef={**POD, "kind": "Node", "name": "node-a"})
        server.delete("Node", "node-a")
        assert (await reviewed(client, token))["authenticated"] is True
        assert "invalidated" in (await reviewed(client, alone))["error"]


async def test_token_is_not_bound_to_the_pod_of_another_account() -> None:
    async with town() as (server, client):
        server.create(sample("v1", "ServiceAccount", "other"))
        answer = await client.post(TOKENS.replace("web", "other"), {"spec": {"boundObjectRef": POD}})
    assert answer.code == 400
    assert "running with different serviceaccount name" in answer.body["message"]


AUDIENCES: list[tuple[list[str], list[str], list[str]]] = [
    (["a", "b"], ["b", "c"], ["b"]),
    (["a"], ["b"], []),
    (["a"], [], []),
    ([], [], [API]),
]


@pytest.mark.parametrize(("made", "wanted", "shared"), AUDIENCES)
async def test_token_is_good_for_its_audiences_only(
    made: list[str], wanted: list[str], shared: list[str]
) -> None:
    async with town() as (_, client):
        status = await reviewed(client, await asked(client, audiences=made), *wanted)
    assert (status.get("authenticated", False), status.get("audiences", [])) == (bool(shared), shared)
    if not shared:
        assert "is invalid for the target audiences" in status["error"]


def altered(token: str) -> list[str]:
    """Texts that nearly are the token."""
    header, claims, signature = token.split(".")
    other = "A" if signature[0] != "A" else "B"
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return [
        "x",
        f"{header}.{claims}",
        f"{header}.{claims}.",
        f"{header}.{claims}.{other}{signature[1:]}",
        f"{header}.{claims[:-4]}.{signature}",
        f"{header}.{claims}.{signature}AAAA",
        f"{header}.{claims}.\u00e9{signature[1:]}",
        f"{unsigned}.{claims}.{signature}",
        f"{unsigned}.{claims}.",
        f" {token}",
    ]


async def test_text_that_is_no_token_of_this_server_is_no_user() -> None:
    async with town() as (server, client), town() as (other, _):
        for token in (*altered(server.token("web")), other.token("web")):
            status = await reviewed(client, token)
            assert (status["user"], status["error"]) == ({}, "invalid bearer token"), token
