"""The admin interface: /healthz, /readyz, /metrics and /status over HTTP, on loopback.

Knows HTTP and JSON. What is healthy, and what there is to tell, the operator says.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from policy_controller import bounded

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class InvalidAdmin(ValueError):  # noqa: N818 - as InvalidField
    """An address for the admin interface that is not accepted; the text says why."""


class Subject(Protocol):
    """What the admin interface tells about."""

    def ailments(self) -> Sequence[str]:
        """Sentences, each about something that only a restart mends; empty is healthy."""
        ...

    def reasons_not_ready(self) -> Sequence[str]:
        """Sentences, each about why nodes are not served what the cluster says; empty is ready."""
        ...

    def status(self) -> dict[str, Any]:
        """The document of /status, `{"schema": "status/v1", ...}`."""
        ...


def admin_address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:PORT` or `[::1]:PORT`; raises InvalidAdmin for what is not on loopback.

    Whoever reaches it learns names of all tenants' policies, and nobody has to say who they are: port-forward asks.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise InvalidAdmin(f"{text!r} is not of the form 127.0.0.1:PORT")
    if host not in LOOPBACK:
        raise InvalidAdmin(f"{text!r} is not on loopback")
    return host, int(port)


@contextlib.asynccontextmanager
async def serving(address: str, subject: Subject, registry: CollectorRegistry) -> AsyncIterator[str]:
    """Serve while entered; yields the URL. Port 0 takes any free one. Raises InvalidAdmin or OSError."""
    host, port = admin_address(address)
    async with bounded.serving(application(subject, registry), host, port) as (_, bound):
        yield f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"


def application(subject: Subject, registry: CollectorRegistry) -> web.Application:
    """The four paths."""

    async def healthz(_: web.Request) -> web.Response:
        return _verdict(subject.ailments())

    async def readyz(_: web.Request) -> web.Response:
        return _verdict(subject.reasons_not_ready())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def status(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(subject.status()), content_type="application/json")

    served = web.Application()
    served.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            web.get("/status", status),
        ]
    )
    return served


def _verdict(reasons: Sequence[str]) -> web.Response:
    if reasons:
        return web.Response(status=503, text="\n".join(reasons) + "\n")
    return web.Response(text="ok\n")
