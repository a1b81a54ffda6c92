"""Enforcers of many nodes in one process, without kernels: what they acknowledge they have only in memory.

Streams, waits, credentials and TLS are the real ones, each node's from an address of its own. Run as a program with a
folder, which holds `ca.crt`, one token a node and, in a file of its own, the operator's port. It ends by a signal; another one
(CUT) breaks every connection at once.
"""

import asyncio
import contextlib
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom
from typing import Final, cast

from policy_controller.clock import SystemClock
from policy_controller.enforcer.credentials import CredentialFiles, Way
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.reach import Reach
from policy_controller.enforcer.reports import Reports
from policy_controller.enforcer.session import Session
from policy_controller.enforcer.stream import follow
from policy_controller.testing.credentials import SERVER_NAME
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.channel import HostPort
from policy_controller.wire.convert import decode_operator
from policy_controller.wire.messages import Hello, NodeMessage

CA: Final = "ca.crt"
PORT: Final = "port"
TOKENS: Final = "tokens"
CUT: Final = signal.SIGUSR1
LOOPBACK: Final = "127.0.0.1"
CHUNK: Final = 1 << 16
WAITING: Final = 512
"""Connections that may wait for a relay to take them."""


class Remembering:
    """Instead of an Enforcement: has in force whatever the operator says."""

    def __init__(self, node: str) -> None:
        self._session = Session(node)

    def begin_stream(self) -> Hello:
        """See Enforcement."""
        return self._session.begin_stream()

    def note_connected(self) -> None:
        """See Enforcement."""

    def end_stream(self) -> None:
        """See Enforcement."""
        self._session.end_stream()

    async def receive(self, message: pb.OperatorMessage) -> NodeMessage:
        """See Enforcement."""
        return self._session.commit(self._session.judge(decode_operator(message)))


class Relays:
    """Ways to the operator, each from another address: the operator bounds what one address may ask."""

    def __init__(self, port: Path) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()

    async def lead_from(self, address: str) -> HostPort:
        """Where a node of this address reaches the operator."""

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection(
                    LOOPBACK, int(self._port.read_text()), local_addr=(address, 0)
                )
                ends = {writer, far_writer}
                self._open |= ends
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
                self._open -= ends
            writer.close()

        server = await asyncio.start_server(relay, address, 0, backlog=WAITING)
        return HostPort(address, server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Every connection breaks."""
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while content := await reader.read(CHUNK):
            writer.write(content)
            await writer.drain()
    writer.close()


async def _live(folder: Path) -> None:
    relays, clock = Relays(folder / PORT), SystemClock()
    asyncio.get_running_loop().add_signal_handler(CUT, relays.cut)
    async with asyncio.TaskGroup() as group:
        for number, token in enumerate(sorted((folder / TOKENS).iterdir()), start=1):
            # A block that no other test on loopback uses.
            operator = await relays.lead_from(f"127.77.{number >> 8}.{number & 255}")
            metrics = Metrics()
            way = Way(operator, CredentialFiles(folder / CA, token, SERVER_NAME))
            node = cast("Enforcement", Remembering(token.name))
            group.create_task(follow(way, node, Reach(metrics), Reports(clock), clock, SystemRandom()))


@contextlib.contextmanager
def crowd(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The program, for the length of the block."""
    command = (sys.executable, "-m", __name__, str(folder))
    with (folder / "crowd.log").open("wb") as log:
        words = ("setpriv", "--pdeathsig", "KILL", "--", *command)
        process = subprocess.Popen(words, stdout=log, stderr=log)  # noqa: S603 - our own program
    try:
        yield process
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_live(Path(sys.argv[1])))
