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
                _, writer = await _connect(probe.tcp_socket.host, probe.tcp_socket.port, asking)
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
    reader, writer = await _connect(get.host, get.port, asking)
    try:
        host = get.host or asking.address
        shown = f"[{host}]" if ":" in host else host
        writer.write(f"GET {get.path} HTTP/1.1\r\nHost: {shown}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.transport.abort()
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        return False, "no answer of HTTP"
    return int(words[1]) in SUCCESSES, f"{words[1].decode()} {body[:500].decode('utf-8', 'replace')}"


async def _connect(
    host: str, port: int | str, asking: Asking
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = ip_address(host or asking.address)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with inside(asking.network):
        connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connecting, (str(address), _number(port, asking)))
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
