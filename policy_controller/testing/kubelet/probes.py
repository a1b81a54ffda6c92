"""Probes: what a kubelet asks of a container, and when its answers count.

Knows httpGet and tcpSocket, from the node's network. Source: the API's Probe.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from policy_controller.testing.kubelet.spec import ContainerPort, HttpGet, Probe, SpecError
from policy_controller.testing.laboratory import inside

SUCCESSES: Final = range(200, 400)
"""API: "Any code greater than or equal to 200 and less than 400 indicates success"."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Whose probe it is: the namespace it starts from, the pod's address, the container's ports."""

    network: str
    address: str
    ports: Sequence[ContainerPort]


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer, and whether it (with those before) changes what counts: None while it does not."""

    verdict: bool | None
    reason: str


async def answers(probe: Probe, asking: Asking) -> AsyncIterator[Answered]:
    """Ask again and again, as the probe says, until closed."""
    await asyncio.sleep(probe.initial_delay_seconds)
    run, last = 0, None
    while True:
        good, reason = await _once(probe, asking)
        run, last = (run + 1 if good is last else 1), good
        needed = probe.success_threshold if good else probe.failure_threshold
        yield Answered(good if run >= needed else None, reason)
        await asyncio.sleep(probe.period_seconds)


async def _once(probe: Probe, asking: Asking) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(probe.timeout_seconds):
            if probe.http_get is not None:
                return await _http(probe.http_get, asking)
            if probe.tcp_socket is not None:
                socket_ = probe.tcp_socket
                port = _number(socket_.port, asking)
                _, writer = await _connect(asking.network, socket_.host or asking.address, port)
                writer.close()
                return True, "connected"
    except TimeoutError:
        return False, f"no answer in {probe.timeout_seconds} s"
    except OSError as error:
        return False, str(error)
    raise SpecError("a probe that asks nothing that is played here")


async def _http(get: HttpGet, asking: Asking) -> tuple[bool, str]:
    if get.scheme != "HTTP":
        raise SpecError("httpGet: only the scheme HTTP is played")
    port = _number(get.port, asking)
    status, body = await fetched(asking.network, get.host or asking.address, port, get.path)
    return status in SUCCESSES, f"{status} {body[:500].decode('utf-8', 'replace')}"


async def fetched(network: str, host: str, port: int, path: str) -> tuple[int, bytes]:
    """GET by plain HTTP out of a network namespace: status and body, status 0 for no HTTP. Raises OSError."""
    reader, writer = await _connect(network, host, port)
    try:
        shown = f"[{host}]" if ":" in host else host
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {shown}\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return (int(words[1]), body) if len(words) > 1 and words[1].isdigit() else (0, answer)


async def _connect(network: str, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = ip_address(host)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with inside(network):
        connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, (str(address), port))
        return await asyncio.open_connection(sock=connecting)
    except BaseException:
        connecting.close()
        raise


def _number(port: int | str, asking: Asking) -> int:
    if isinstance(port, int):
        return port
    for known in asking.ports:
        if known.name == port:
            return known.container_port
    raise SpecError(f"probe: the container has no port named {port}")
