"""A command-line client run against one cluster: its words, its exit code, and an end within a stated time.

Knows processes. Knows nothing of what the clients mean. Asynchronous, because the API server that answers often lives
in the same loop.
"""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEADLINE_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a client ended."""

    code: int
    out: str
    err: str


class Following:
    """A client that goes on printing, such as `kubectl get -w`."""

    def __init__(self, process: Process, deadline: float) -> None:
        self._process = process
        self._deadline = deadline

    async def line(self) -> str:
        """The next line of standard output, without its end; "" when there are no more. Raises TimeoutError."""
        if self._process.stdout is None:
            raise RuntimeError("started without a pipe")
        async with asyncio.timeout(self._deadline):
            return (await self._process.stdout.readline()).decode().rstrip("\n")

    async def until(self, words: str) -> str:
        """The next line that holds these words. Raises TimeoutError, and EOFError when the output ends before it."""
        while words not in (line := await self.line()):
            if not line:
                raise EOFError(f"the output ended before {words!r}")
        return line

    async def ended(self) -> Ended:
        """How it ended by itself; what was read before is not repeated. Raises TimeoutError."""
        async with asyncio.timeout(self._deadline):
            return await _end(self._process, None)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None


class CommandLine:
    """`binary` as a client of the cluster that a kubeconfig names.

    What the client keeps for itself (kubectl and helm cache what a server says of itself) goes into `home`. `path` is
    where it finds other programs, such as the one that `kubectl diff` runs.
    """

    def __init__(self, binary: Path, kubeconfig: Path, home: Path, path: str = "") -> None:
        self._binary = binary
        # Nothing of the developer's own: a proxy, a kubeconfig, a plugin would change what is tested.
        own = {"HOME": str(home), "KUBECONFIG": str(kubeconfig), "PATH": path}
        self._environment: Mapping[str, str] = own

    async def run(self, *words: str, stdin: str | None = None, seconds: float = DEADLINE_SECONDS) -> Ended:
        """Run to the end. Raises TimeoutError when that does not come in time; the client is killed then."""
        async with self._started(words, DEVNULL if stdin is None else PIPE) as process:
            async with asyncio.timeout(seconds):
                return await _end(process, stdin)

    @asynccontextmanager
    async def following(self, *words: str, seconds: float = DEADLINE_SECONDS) -> AsyncIterator[Following]:
        """Started, for the length of the block; `seconds` is how long each wait for it may take."""
        async with self._started(words, DEVNULL) as process:
            yield Following(process, seconds)

    @asynccontextmanager
    async def _started(self, words: tuple[str, ...], stdin: int) -> AsyncIterator[Process]:
        process = await asyncio.create_subprocess_exec(
            self._binary, *words, stdin=stdin, stdout=PIPE, stderr=PIPE, env=self._environment
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            # A pipe that is not read to its end would outlive the loop.
            await process.communicate()


async def _end(process: Process, stdin: str | None) -> Ended:
    out, err = await process.communicate(None if stdin is None else stdin.encode())
    return Ended(await process.wait(), out.decode(), err.decode())
