"""What either interface tells and to whom, and a crowd of connections at it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from policy_controller.bounded import MOST_CONNECTIONS
from policy_controller.controller.bounds import PREFIX, Bound
from policy_controller.controller.health import InvalidAdmin, Subject, admin, admin_address, health, serving
from policy_controller.controller.status import Question
from policy_controller.controller.tests import objects
from policy_controller.controller.tests.objects import allow_from, new
from policy_controller.controller.tests.running import operator_of
from policy_controller.controller.tests.scripted_node import node
from policy_controller.controller.tests.waiting import eventually
from policy_controller.controller.trouble import Trouble
from policy_controller.hits import Hits
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import Fault, Faults, Refuse, Requests, Verb
from policy_controller.wire.channel import HostPort
from policy_controller.wire.messages import Nack, NackCause

ANY_PORT: Final = HostPort("127.0.0.1", 0)
TENANT: Final = "acme/payroll"


class Unwell:
    """A subject whose API server says a tenant's names, and whose status holds them."""

    def __init__(self, *troubles: Trouble, ailments: Sequence[str] = ()) -> None:
        self._troubles = troubles
        self._ailments = ailments
        self.notes: tuple[Trouble, ...] = ()

    def ailments(self) -> Sequence[str]:
        return self._ailments

    def reasons_not_ready(self) -> Sequence[Trouble]:
        return self._troubles

    def warnings(self) -> Sequence[Trouble]:
        return self.notes

    async def status(self, question: Question) -> dict[str, Any]:
        asked = [f"{namespace}/{name}" for namespace, name in sorted(question.policies)]
        return {"policy": TENANT, "asked": [*sorted(question.namespaces), *asked]}


@asynccontextmanager
async def asked(application: web.Application, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
    async with (
        serving(ANY_PORT, application, Hits(PREFIX, Bound)) as url,
        aiohttp.ClientSession() as client,
        client.get(url + path) as answer,
    ):
        yield answer


SICK: Final = Unwell(
    Trouble("Pod objects have not been listed yet: ServerError.", f"cannot decode {TENANT}"),
    Trouble("Nothing has been compiled yet."),
    ailments=("The task of the lists has ended.",),
)

ANSWERS = [
    (health, "/healthz", 503, "The task of the lists has ended.\n"),
    (admin, "/healthz", 503, "The task of the lists has ended.\n"),
    (
        health,
        "/readyz",
        503,
        "Pod objects have not been listed yet: ServerError.\nNothing has been compiled yet.\n",
    ),
    (
        admin,
        "/readyz",
        503,
        f"Pod objects have not been listed yet: ServerError. cannot decode {TENANT}\nNothing has been compiled yet.\n",
    ),
    (health, "/status", 404, "404: Not Found"),
    (admin, "/status", 200, f'{{"policy":"{TENANT}","asked":[]}}'),
    (
        admin,
        "/status?namespace=b&namespace=a&policy=a/x",
        200,
        f'{{"policy":"{TENANT}","asked":["a","b","a/x"]}}',
    ),
    (admin, "/status?policy=a", 400, "asked for something else than namespace or policy\n"),
    (admin, "/status?name=a", 400, "asked for something else than namespace or policy\n"),
]


@pytest.mark.parametrize(("interface", "path", "status", "text"), ANSWERS)
async def test_names_of_tenants_are_for_the_admin_interface_alone(
    interface: Callable[[Subject, CollectorRegistry], web.Application], path: str, status: int, text: str
) -> None:
    async with asked(interface(SICK, CollectorRegistry()), path) as answer:
        assert (answer.status, await answer.text()) == (status, text)


@pytest.mark.parametrize(("troubles", "status"), [((), 200), ((Trouble("Not yet."),), 503)])
async def test_warnings_stand_beside_either_answer(troubles: tuple[Trouble, ...], status: int) -> None:
    subject = Unwell(*troubles)
    subject.notes = (Trouble("It is off.", TENANT),)
    first = "ok" if status == 200 else "Not yet."
    for interface, words in ((health, "It is off."), (admin, f"It is off. {TENANT}")):
        async with asked(interface(subject, CollectorRegistry()), "/readyz") as answer:
            assert (answer.status, await answer.text()) == (status, f"{first}\nwarning: {words}\n")


@pytest.mark.parametrize("text", ["127.0.0.1:9471", "[::1]:9471", "localhost:0"])
def test_the_admin_interface_listens_on_loopback(text: str) -> None:
    assert str(admin_address(text)) == text


@pytest.mark.parametrize(
    "text", ["0.0.0.0:9471", "[::]:9471", "10.0.0.1:9471", "127.0.0.1", "::1:9471", "name:1"]
)
def test_the_admin_interface_listens_nowhere_else(text: str) -> None:
    with pytest.raises(InvalidAdmin):
        admin_address(text)


async def test_half_open_connections_do_not_keep_a_kubelet_out() -> None:
    hits = Hits(PREFIX, Bound)
    async with (
        asyncio.timeout(10),
        serving(ANY_PORT, health(Unwell(), CollectorRegistry()), hits) as url,
    ):
        host, port = url.removeprefix("http://").split(":")
        crowd = [await asyncio.open_connection(host, int(port)) for _ in range(2 * MOST_CONNECTIONS)]
        async with aiohttp.ClientSession() as client, client.get(f"{url}/healthz") as answer:
            assert answer.status == 200
        assert hits.of(Bound.HTTP_CONNECTIONS) >= MOST_CONNECTIONS
        for reader, _ in crowd[:MOST_CONNECTIONS]:
            assert await reader.read() == b""
        for _, writer in crowd:
            writer.close()


async def test_a_whole_operator_names_no_tenants_object_to_whoever_asks(
    server: ApiServer, faults: Faults, tmp_path: Path
) -> None:
    """A broken policy, a refused rule set, LISTs that fail: each is told, and by name to admins alone."""
    names = ("payroll", "ledger", "broken")
    spec = allow_from({"app": "auditor"}, port=70000) | {"podSelector": {}}
    server.create(new(objects.namespace("payroll")))
    server.create(new(objects.pod("ledger", namespace="payroll", address="10.1.0.1", node="node-1")))
    server.create(new(objects.policy("broken", spec, namespace="payroll")))
    async with (
        operator_of(server, tmp_path, relist_seconds=0.2) as running,
        node(running.door, "node-1") as one,
        aiohttp.ClientSession() as client,
    ):
        heard = await one.hear()
        await one.say(Nack(heard.generation, NackCause.KERNEL, "payroll/ledger", "File exists", 0))
        await eventually(lambda: running.operator.server.nacks.total() == 1)
        faults.begin(Fault(Refuse(500), Requests(verbs=frozenset({Verb.LIST}))))
        await eventually(lambda: running.operator.reasons_not_ready() != [])
        told = ""
        for path in ("/healthz", "/readyz", "/metrics", "/status"):
            async with client.get(running.operator.health_url + path) as answer:
                assert (answer.status == 404) is (path == "/status")
                told += await answer.text()
        assert "have not been listed for" in told
        assert 'policy_controller_nacks_total{cause="kernel"} 1.0' in told
        assert [name for name in names if name in told] == []
        _, status = await running.admin("/status")
        assert [name for name in names if name not in status] == []
