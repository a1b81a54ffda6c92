"""The same port-forward by kubectl, for clusters and proxies that ours does not get through.

Knows kubectl's words. Knows nothing of what is carried.
"""

import asyncio
import contextlib
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from policy_controller.cli.reach.way import SECONDS, SELECTOR, NotReached, Way, running_pod

FORWARDING: Final = re.compile(rb"^Forwarding from 127\.0\.0\.1:(?P<port>\d+) ")


@contextlib.asynccontextmanager
async def through_kubectl(way: Way, kubectl: str) -> AsyncIterator[ClientSession]:
    """A client of the admin interface of one operator pod, for the length of the block. Raises NotReached."""
    words = [*spoken(way, kubectl), f"--namespace={way.namespace}"]
    async with asyncio.timeout(SECONDS):
        pod = running_pod(await printed(*words, "get", "pods", "-l", SELECTOR, "-o", "json"), way.namespace)
    forward = (*words, "port-forward", "--address=127.0.0.1", f"pod/{pod}", f":{way.port}")
    async with _started(*forward) as process:
        async with asyncio.timeout(SECONDS):
            port = await _forwarded(process)
        async with ClientSession(f"http://127.0.0.1:{port}", timeout=ClientTimeout(SECONDS)) as client:
            try:
                yield client
            except ClientError as fault:
                # The client only sees that the connection ended; kubectl says why, on standard error.
                process.terminate()
                _, err = await process.communicate()
                raise NotReached(_said(err)) from fault


def spoken(way: Way, kubectl: str) -> tuple[str, ...]:
    """How kubectl is called so that it takes the same cluster."""
    kubeconfig = (f"--kubeconfig={way.kubeconfig}",) if way.kubeconfig is not None else ()
    context = (f"--context={way.context}",) if way.context is not None else ()
    return (kubectl, *kubeconfig, *context)


async def _forwarded(process: Process) -> int:
    """The local port, once kubectl listens there; raises NotReached when it ends instead."""
    if process.stdout is None or process.stderr is None:
        raise RuntimeError("started without pipes")
    while line := await process.stdout.readline():
        if found := FORWARDING.match(line):
            return int(found["port"])
    raise NotReached(_said(await process.stderr.read()))


async def printed(*words: str) -> bytes:
    """What a command prints. Raises NotReached, with its own words, when it fails."""
    async with _started(*words) as process:
        out, err = await process.communicate()
    if process.returncode:
        raise NotReached(_said(err))
    return out


def _said(err: bytes) -> str:
    return err.decode(errors="replace").strip() or "kubectl ends without a word"


@contextlib.asynccontextmanager
async def _started(*words: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(*words, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        # A pipe that is not read to its end would outlive the loop.
        await process.communicate()
