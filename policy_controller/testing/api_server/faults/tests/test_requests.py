"""Whom a fault meets, how often and for how long, and what a request gets then; on the wire."""

import asyncio

import aiohttp
import pytest

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import (
    Fault,
    Faults,
    Garbage,
    HalfList,
    Hang,
    Refuse,
    Requests,
    Reset,
    StaleList,
    Stall,
    Trickle,
    Verb,
    What,
)
from policy_controller.testing.api_server.faults.tests.conftest import eventually
from policy_controller.testing.api_server.server import SHUTDOWN_SECONDS
from policy_controller.testing.api_server.tests.raw import PODS, POLICIES, RawClient, configmap, pod

ALL_PODS = "/api/v1/pods"
BROKEN = Refuse(503)


def verbs(*of: Verb) -> Requests:
    return Requests(verbs=frozenset(of))


MEETINGS = [
    (Requests(), "GET", PODS, True),
    (Requests(), "GET", "/version", True),
    (Requests(), "GET", "/apis/none/v1/of/such", True),
    (verbs(Verb.LIST), "GET", PODS, True),
    (verbs(Verb.LIST), "GET", ALL_PODS, True),
    (verbs(Verb.LIST), "GET", f"{PODS}/p0", False),
    (verbs(Verb.LIST), "GET", f"{PODS}?watch=1&timeoutSeconds=1", False),
    (verbs(Verb.WATCH), "GET", f"{PODS}?watch=1&timeoutSeconds=1", True),
    (verbs(Verb.WATCH), "GET", f"{PODS}?watch=false", False),
    (verbs(Verb.GET), "GET", f"{PODS}/p0", True),
    (verbs(Verb.GET), "GET", f"{PODS}/p0/status", True),
    (verbs(Verb.GET, Verb.DELETE), "DELETE", f"{PODS}/p0", True),
    (verbs(Verb.DELETE), "DELETE", PODS, False),
    (verbs(Verb.DELETE_COLLECTION), "DELETE", PODS, True),
    (verbs(Verb.CREATE), "POST", PODS, True),
    (verbs(Verb.UPDATE), "PUT", f"{PODS}/p0", True),
    (verbs(Verb.PATCH), "PATCH", f"{PODS}/p0", True),
    (verbs(Verb.OTHER), "GET", "/api/v1", True),
    (verbs(Verb.OTHER), "GET", PODS, False),
    (Requests(resource="pods"), "GET", PODS, True),
    (Requests(resource="pods"), "GET", "/version", False),
    (Requests(resource="networkpolicies.networking.k8s.io"), "GET", POLICIES, True),
    (Requests(resource="networkpolicies"), "GET", POLICIES, False),
    (Requests(namespace="default"), "GET", PODS, True),
    (Requests(namespace="default"), "GET", ALL_PODS, False),
    (Requests(agent="Python"), "GET", PODS, True),
    (Requests(agent="kopf"), "GET", PODS, False),
    (Requests(resource="pods", agent="kopf"), "GET", PODS, False),
]


@pytest.mark.parametrize(("requests", "method", "path", "meets"), MEETINGS)
async def test_a_fault_meets_the_requests_that_it_names_and_no_other(
    client: RawClient, faults: Faults, requests: Requests, method: str, path: str, meets: bool
) -> None:
    with faults.during(BROKEN, requests) as standing:
        async with client.session.request(method, path) as answer:
            assert (answer.status == 503) is meets
    assert standing.met == int(meets)
    async with client.session.get("/version") as answer:
        assert answer.status == 200


async def test_a_fault_is_over_after_so_many_times(client: RawClient, faults: Faults) -> None:
    faults.begin(Fault(BROKEN, Requests(resource="pods"), times=2))
    assert [(await client.get(path)).code for path in (PODS, POLICIES, PODS, PODS)] == [503, 200, 503, 200]
    assert faults.standing == ()


async def test_a_fault_is_over_after_so_many_seconds(client: RawClient, faults: Faults) -> None:
    faults.begin(Fault(BROKEN, seconds=0.2))
    assert (await client.get(PODS)).code == 503
    await eventually(lambda: not faults.standing)
    assert (await client.get(PODS)).code == 200


async def test_of_two_faults_the_older_is_done_until_it_is_over(client: RawClient, faults: Faults) -> None:
    faults.begin(Fault(Refuse(500), times=1))
    faults.begin(Fault(Refuse(429)))
    assert [(await client.get(PODS)).code for _ in range(3)] == [500, 429, 429]
    faults.clear()
    assert (await client.get(PODS)).code == 200


REASONS = {
    401: "Unauthorized",
    403: "Forbidden",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@pytest.mark.parametrize(("status", "reason"), REASONS.items())
async def test_a_refusal_is_a_status_of_the_apis_own(
    client: RawClient, faults: Faults, status: int, reason: str
) -> None:
    with faults.during(Refuse(status, retry_after=7)):
        async with client.session.get(PODS) as answer:
            body = await answer.json()
            assert answer.headers["Retry-After"] == "7"
    assert (answer.status, body["kind"], body["code"], body["reason"]) == (status, "Status", status, reason)
    assert body["details"]["retryAfterSeconds"] == 7


async def test_a_refused_write_writes_nothing(client: RawClient, server: ApiServer, faults: Faults) -> None:
    with faults.during(BROKEN):
        assert (await client.post("/api/v1/namespaces/default/configmaps", configmap("c"))).code == 503
    assert server.list("ConfigMap") == []


CUT: dict[str, tuple[What, type[Exception]]] = {
    "reset": (Reset(), aiohttp.ClientOSError),
    "half a list": (HalfList(), aiohttp.ClientPayloadError),
    "never an answer": (Hang(), TimeoutError),
}


@pytest.mark.parametrize(("what", "error"), CUT.values(), ids=list(CUT))
async def test_no_whole_answer_comes(
    client: RawClient, faults: Faults, what: What, error: type[Exception]
) -> None:
    with faults.during(what), pytest.raises(error):
        async with client.session.get(PODS, timeout=aiohttp.ClientTimeout(total=0.3)) as answer:
            await answer.read()
    assert (await client.get(PODS)).code == 200


async def test_a_request_that_hangs_goes_on_hanging_when_the_fault_has_ended(
    server: ApiServer, client: RawClient, faults: Faults
) -> None:
    with faults.during(Hang()) as standing:
        hanging = asyncio.create_task(client.get(PODS))
        await eventually(lambda: standing.met == 1)
    assert len((await client.get(PODS)).names) == 5
    assert not hanging.done()
    hanging.cancel()


@pytest.mark.parametrize("path", [PODS, f"{PODS}?watch=1"])
async def test_a_server_stops_at_once_though_requests_hang_and_watches_are_stalled(path: str) -> None:
    faults = Faults()
    async with aiohttp.ClientSession() as session, ApiServer.running(faults=faults) as server:
        hang, stall = faults.begin(Fault(Hang(), verbs(Verb.LIST))), faults.begin(Fault(Stall()))
        waiting = asyncio.create_task(session.get(server.url + path))
        await eventually(lambda: hang.met + stall.met == 1)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < SHUTDOWN_SECONDS
    waiting.cancel()


async def test_half_a_list_is_half_of_its_bytes(client: RawClient, faults: Faults) -> None:
    async with client.session.get(PODS) as answer:
        whole = await answer.read()
    with faults.during(HalfList()):
        async with client.session.get(PODS) as answer:
            assert answer.content_length == len(whole)
            got = await answer.content.readexactly(len(whole) // 2)
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.readany()
    assert got == whole[: len(whole) // 2]


async def test_a_slow_body_comes_at_its_speed_and_whole(client: RawClient, faults: Faults) -> None:
    async with client.session.get(PODS) as answer:
        whole = await answer.read()
    loop = asyncio.get_running_loop()
    with faults.during(Trickle(4 * len(whole))):
        began = loop.time()
        async with client.session.get(PODS) as answer:
            assert await answer.read() == whole
            assert answer.content_type == "application/json"
    assert loop.time() - began > 0.2


async def test_garbage_is_answered_as_it_is_given(client: RawClient, faults: Faults) -> None:
    with faults.during(Garbage("text/plain", "no")):
        async with client.session.get(PODS) as answer:
            assert (answer.status, answer.content_type, await answer.text()) == (200, "text/plain", "no")


async def test_a_stale_list_is_what_was_there_at_its_version(
    client: RawClient, server: ApiServer, faults: Faults
) -> None:
    then = server.resource_version
    server.delete("Pod", "p1")
    server.create(pod("p9"))
    with faults.during(StaleList(then)):
        stale = await client.get(PODS)
        page = await client.get(PODS, limit="2")
        rest = await client.get(PODS, limit="5", **{"continue": page.body["metadata"]["continue"]})
        alone = await client.get(f"{PODS}/p9")
    assert stale.names == page.names + rest.names == [f"p{number}" for number in range(5)]
    assert stale.body["metadata"]["resourceVersion"] == str(then)
    assert alone.code == 200
    assert "p9" in (await client.get(PODS)).names
