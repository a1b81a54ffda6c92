"""Two HTTP interfaces of the operator: health for whoever reaches the pod, and admin on its loopback.

Knows HTTP and JSON. What is healthy, and what there is to tell, the operator says.

Health is for kubelet and Prometheus, and anybody in the cluster may ask it: it names nodes, and no object of a tenant.
Admin tells of every tenant's policies; who comes through a port-forward has been judged by Kubernetes RBAC.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from policy_controller import bounded
from policy_controller.controller.bounds import Bound
from policy_controller.controller.status import Question
from policy_controller.controller.trouble import Trouble
from policy_controller.hits import Hits
from policy_controller.wire.channel import HostPort, InvalidAddress

STATUS: Final = "/status"
"""Only admin has it, and it alone reads its query."""
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

MET: Final[Mapping[bounded.Met, Bound]] = {
    bounded.Met.CONNECTIONS: Bound.HTTP_CONNECTIONS,
    bounded.Met.ANSWERS: Bound.HTTP_ANSWERS,
}


class InvalidAdmin(ValueError):  # noqa: N818 - as InvalidField
    """An address for the admin interface that is not accepted; the text says why."""


class Subject(Protocol):
    """What is told about."""

    def ailments(self) -> Sequence[str]:
        """Sentences, each about something that only a restart mends; empty is healthy."""
        ...

    def reasons_not_ready(self) -> Sequence[Trouble]:
        """Each about why nodes are not served what the cluster says; empty is ready."""
        ...

    def warnings(self) -> Sequence[Trouble]:
        """Each about what somebody should mend or know of, though nodes are served."""
        ...

    async def status(self, question: Question) -> dict[str, Any]:
        """The document of /status, `{"schema": "status/v1", ...}`."""
        ...


def admin_address(text: str) -> HostPort:
    """`127.0.0.1:PORT` or `[::1]:PORT`; raises InvalidAdmin for what is not on loopback.

    Whoever reaches it learns names of all tenants' policies, and nobody has to say who they are: port-forward asks.
    """
    try:
        address = HostPort.parse(text)
    except InvalidAddress as fault:
        raise InvalidAdmin(str(fault)) from None
    if address.host not in LOOPBACK:
        raise InvalidAdmin(f"{text!r} is not on loopback")
    return address


@contextlib.asynccontextmanager
async def serving(address: HostPort, application: web.Application, hits: Hits[Bound]) -> AsyncIterator[str]:
    """Serve while entered; yields the URL. Port 0 takes any free one. Raises OSError."""

    def note(met: bounded.Met) -> None:
        hits.note(MET[met])

    async with bounded.serving(application, address.host, address.port, note, frozenset({STATUS})) as (
        _,
        port,
    ):
        yield f"http://{HostPort(address.host, port)}"


def health(subject: Subject, registry: CollectorRegistry) -> web.Application:
    """/healthz, /readyz and /metrics, without words that may name a tenant's object."""
    return _application(subject, registry, lambda trouble: trouble.sentence)


def admin(subject: Subject, registry: CollectorRegistry) -> web.Application:
    """The same with all words, and /status; `?namespace=NAME` and `?policy=NAMESPACE/NAME`, each as often as one likes."""

    async def status(request: web.Request) -> web.Response:
        question = asked(request.query.items())
        if question is None:
            return web.Response(status=400, text="asked for something else than namespace or policy\n")
        document = await subject.status(question)
        return web.Response(body=msgspec.json.encode(document), content_type="application/json")

    served = _application(subject, registry, str)
    served.add_routes([web.get(STATUS, status)])
    return served


def _application(
    subject: Subject, registry: CollectorRegistry, words: Callable[[Trouble], str]
) -> web.Application:
    async def healthz(_: web.Request) -> web.Response:
        return _verdict(subject.ailments())

    async def readyz(_: web.Request) -> web.Response:
        return _verdict(list(map(words, subject.reasons_not_ready())), map(words, subject.warnings()))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    served = web.Application()
    served.add_routes(
        [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]
    )
    return served


def asked(query: Iterable[tuple[str, str]]) -> Question | None:
    """What the parameters of a request ask for; None: something that nobody knows."""
    namespaces: set[str] = set()
    policies: set[tuple[str, str]] = set()
    for name, value in query:
        if name == "namespace":
            namespaces.add(value)
        elif name == "policy" and value.count("/") == 1:
            namespace, _, policy = value.partition("/")
            policies.add((namespace, policy))
        else:
            return None
    return Question(frozenset(namespaces), frozenset(policies))


def _verdict(reasons: Sequence[str], warnings: Iterable[str] = ()) -> web.Response:
    lines = (*(reasons or ("ok",)), *(f"warning: {sentence}" for sentence in warnings))
    return web.Response(status=503 if reasons else 200, text="".join(f"{line}\n" for line in lines))
