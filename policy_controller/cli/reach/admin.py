"""One document of the admin interface, by the first way that leads there.

Knows the ways and their order, and when an answer is one. Knows nothing of what documents hold.
"""

import asyncio
import shutil
from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout

from policy_controller.cli.reach.kubectl import through_kubectl
from policy_controller.cli.reach.way import SECONDS, NoOperator, NotReached, Way
from policy_controller.cli.reach.websocket import through_the_api_server

LONGEST_ANSWER: Final = 64 << 20
"""Bytes; more is no document of an operator."""
OK: Final = 200


async def document(path: str, *, url: str | None, way: Way) -> bytes:
    """What the admin interface answers at a path; from `url` where one is given. Raises NotReached."""
    if url is not None:
        return await _asked(_direct(url), path)
    try:
        return await _asked(through_the_api_server(way), path)
    except NoOperator:
        raise
    except NotReached as first:
        # kubectl may know how to sign in where kr8s does not, and speaks SPDY where WebSockets do not pass.
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise
        try:
            return await _asked(through_kubectl(way, kubectl), path)
        except NotReached as second:
            raise NotReached(f"{first}\nkubectl: {second}") from first


def _direct(url: str) -> ClientSession:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
        raise NotReached(f"{url!r} is not of the form http://127.0.0.1:PORT")
    return ClientSession(url, timeout=ClientTimeout(SECONDS))


async def _asked(entered: AbstractAsyncContextManager[ClientSession], path: str) -> bytes:
    try:
        async with entered as client, client.get(path) as answer:
            if answer.status != OK:
                raise NotReached(
                    f"{path} is answered with {answer.status}: that is no operator of this version"
                )
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > LONGEST_ANSWER:
                    raise NotReached(f"{path} is answered with more than {LONGEST_ANSWER >> 20} MiB")
            return bytes(body)
    except TimeoutError:
        raise NotReached(f"no answer within {SECONDS:.0f} s") from None
    except ClientError as fault:
        raise NotReached(f"no answer: {type(fault).__name__}: {fault}") from fault
    except OSError as fault:
        raise NotReached(f"no answer: {fault.strerror or fault}") from fault


def ask(path: str, *, url: str | None, way: Way) -> bytes:
    """The same for a command, which has no loop of its own."""
    return asyncio.run(document(path, url=url, way=way))
