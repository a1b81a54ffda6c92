"""One document of the admin interface, by the first way that leads there.

Knows the ways and their order, and when an answer is one. Knows nothing of what documents hold.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout

from policy_controller.cli.reach.kubectl import through_kubectl
from policy_controller.cli.reach.way import SECONDS, NoOperator, NotReached, Way
from policy_controller.cli.reach.websocket import through_the_api_server

LONGEST_ANSWER: Final = 64 << 20
"""Bytes; more is no document of an operator."""
OK: Final = 200
T = TypeVar("T")


Ask = Callable[[str], Awaitable[bytes]]
"""What the admin interface answers at a path. Raises NotReached."""


async def conversation(talk: Callable[[Ask], Awaitable[T]], *, url: str | None, way: Way) -> T:
    """What `talk` makes of the answers, over one connection; from `url` where one is given. Raises NotReached.

    Where the first way does not lead there, `talk` begins anew on the second.
    """
    if url is not None:
        return await _held(_direct(url), talk)
    try:
        return await _held(through_the_api_server(way), talk)
    except NoOperator:
        raise
    except NotReached as first:
        # kubectl may know how to sign in where kr8s does not, and speaks SPDY where WebSockets do not pass.
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise
        try:
            return await _held(through_kubectl(way, kubectl), talk)
        except NotReached as second:
            raise NotReached(f"{first}\nkubectl: {second}") from first


async def document(path: str, *, url: str | None, way: Way) -> bytes:
    """What the admin interface answers at a path. Raises NotReached."""
    return await conversation(lambda ask: ask(path), url=url, way=way)


def _direct(url: str) -> ClientSession:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
        raise NotReached(f"{url!r} is not of the form http://127.0.0.1:PORT")
    return ClientSession(url, timeout=ClientTimeout(SECONDS))


async def _held(
    entered: AbstractAsyncContextManager[ClientSession], talk: Callable[[Ask], Awaitable[T]]
) -> T:
    try:
        async with entered as client:
            return await talk(lambda path: _asked(client, path))
    except TimeoutError:
        raise NotReached(f"no answer within {SECONDS:.0f} s") from None
    except ClientError as fault:
        raise NotReached(f"no answer: {type(fault).__name__}: {fault}") from fault
    except OSError as fault:
        raise NotReached(f"no answer: {fault.strerror or fault}") from fault


async def _asked(client: ClientSession, path: str) -> bytes:
    async with client.get(path) as answer:
        if answer.status != OK:
            raise NotReached(f"{path} is answered with {answer.status}: that is no operator of this version")
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > LONGEST_ANSWER:
                raise NotReached(f"{path} is answered with more than {LONGEST_ANSWER >> 20} MiB")
        return bytes(body)


def ask(path: str, *, url: str | None, way: Way) -> bytes:
    """The same for a command, which has no loop of its own."""
    return asyncio.run(document(path, url=url, way=way))
