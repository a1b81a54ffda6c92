"""Containers as processes: one is born from a document, ends by itself or when told, and is waited for.

Knows how to start container_init.py and to whom a signal goes. Knows nothing of pods or the API.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

from policy_controller.testing.kubelet import container_init
from policy_controller.testing.kubelet.images import Image, root_of
from policy_controller.testing.kubelet.spec import Rights
from policy_controller.testing.laboratory.netns import NETNS_DIRECTORY

LONGEST_HOSTNAME: Final = 63


class Bind(msgspec.Struct, frozen=True):
    """What of the machine a container sees, and where. `target` is absolute, in the container."""

    source: str
    target: str
    read_only: bool


class Order(msgspec.Struct, frozen=True):
    """A container to be started. `network` is a namespace's name; `scratch` is for its root, `log` for what it writes."""

    image: Image
    network: str
    hostname: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    rights: Rights
    binds: tuple[Bind, ...]
    scratch: Path
    log: Path


class Birth(msgspec.Struct, frozen=True):
    """What container_init.py reads."""

    network: str
    hostname: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    scratch: str
    image: str | None
    links: Mapping[str, str]
    binds: tuple[Bind, ...]
    read_only: bool
    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: tuple[int, ...]
    no_new_privileges: bool


class RunningContainer:
    """A container that was started."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, order: Order) -> Self:
        """Returns when the process exists; whether its program can be started shows in its exit code (128) and log."""
        order.scratch.mkdir(parents=True, exist_ok=True)
        with order.log.open("ab") as log:
            # From this thread, which lives as long as the loop: the child is killed when the thread that made it ends.
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                container_init.__file__,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        birth = process.stdin
        if birth is None:
            raise RuntimeError("a pipe was asked for")
        birth.write(msgspec.json.encode(_birth(order)))
        with contextlib.suppress(ConnectionError):
            await birth.drain()
        birth.close()
        return cls(process)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def program(self) -> int | None:
        """The number of its first process as this machine counts, or None when there is none (any more)."""
        pid = self._process.pid
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return None

    async def ended(self) -> int:
        """Wait for its end; the exit code, 128 and the number for a signal."""
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to its first process; nothing when it has ended."""
        program = self.program
        with contextlib.suppress(ProcessLookupError):
            if program is not None:
                os.kill(program, number)
            else:
                self._process.send_signal(number)

    async def stop(self, number: signal.Signals, grace_seconds: float) -> int:
        """Send a signal, and SIGKILL after the grace; the exit code."""
        self.send_signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                return await self.ended()
        self.send_signal(signal.SIGKILL)
        return await self.ended()


def _birth(order: Order) -> Birth:
    root, rights = root_of(order.image), order.rights
    shown = tuple(Bind(path, path, read_only=True) for path in root.shown)
    return Birth(
        network=str(NETNS_DIRECTORY / order.network),
        hostname=order.hostname[:LONGEST_HOSTNAME],
        argv=order.argv,
        environment=order.environment,
        directory=order.directory,
        scratch=str(order.scratch),
        image=None if root.image is None else str(root.image),
        links=root.links,
        binds=(*shown, *order.binds),
        read_only=rights.read_only_root,
        uid=rights.uid,
        gid=rights.gid,
        groups=rights.groups,
        capabilities=rights.capabilities,
        no_new_privileges=rights.no_new_privileges,
    )
