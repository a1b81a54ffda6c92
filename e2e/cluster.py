"""What a test may ask of a cluster, whichever it is: kubectl, and the names of the images that it can start.

Knows kubectl. Knows nothing of policies.
"""

import asyncio
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from policy_controller.testing.client_tools import CommandLine

Json = dict[str, Any]

LABORATORY, EXISTING, KIND = "laboratory", "existing", "kind"
"""Words of --cluster."""

SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.2
FIELD_MANAGER: Final = "e2e"


class ClusterError(Exception):
    """The cluster did not do as asked; the text says what was asked and what it answered."""


@dataclass(frozen=True, slots=True)
class Images:
    """References that the cluster's nodes can start."""

    operator: str
    enforcer: str
    probe: str


class Cluster(Protocol):
    """A cluster without an installation; an async context manager, which leaves nothing behind that it made."""

    @property
    def kubectl(self) -> "Kubectl":
        """The cluster's client."""

    @property
    def images(self) -> Images:
        """What to install and what to probe with."""

    @property
    def patience(self) -> float:
        """Seconds in which a pod starts, its image being there."""

    async def keep_logs(self, directory: Path) -> None:
        """Write what the cluster itself knows beyond kubectl into files."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Kubectl:
    """The verbs that tests use. Every one raises ClusterError for a refusal."""

    def __init__(self, client: CommandLine) -> None:
        self.client: Final = client

    async def run(self, *words: str, stdin: str | None = None, seconds: float = SECONDS) -> str:
        """Standard output of one call."""
        try:
            ended = await self.client.run(*words, stdin=stdin, seconds=seconds)
        except TimeoutError:
            raise ClusterError(f"kubectl {' '.join(words)}: no end within {seconds:.0f} s") from None
        if ended.code != 0:
            raise ClusterError(f"kubectl {' '.join(words)}: {ended.err.strip()}")
        return ended.out

    async def apply(self, documents: Iterable[Json]) -> None:
        """Create or change objects."""
        await self.run("apply", "-f", "-", stdin=_list(documents))

    async def delete(self, documents: Iterable[Json], seconds: float = SECONDS) -> None:
        """Delete objects, at once where they are pods, and wait until they are gone; absent ones are as good."""
        words = ("delete", "--ignore-not-found", "--wait", "-f", "-")
        await self.run(*words, stdin=_list(documents), seconds=seconds)

    async def all(self, kind: str, *words: str) -> list[Json]:
        """The objects of a kind, of all namespaces."""
        answer = json.loads(await self.run("get", kind, "--all-namespaces", "-o", "json", *words))
        return list(answer["items"])

    async def rolled_out(self, namespace: str, workloads: Sequence[str], seconds: float) -> None:
        """Wait until each (`deployment/NAME`) has the pods that it wants, all ready."""
        for workload in workloads:
            timeout = f"--timeout={seconds:.0f}s"
            await self.run("-n", namespace, "rollout", "status", workload, timeout, seconds=seconds + 10)


def _list(documents: Iterable[Json]) -> str:
    # Never YAML: writers and readers of it differ about words such as `y`.
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})


class Deadline:
    """Polling with an end: `async for _ in Deadline(seconds, what)` raises ClusterError when the time is over."""

    def __init__(self, seconds: float, what: str) -> None:
        self._seconds = seconds
        self._what = what
        self._end = time.monotonic() + seconds
        self._begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> None:
        if self._begun:
            if time.monotonic() > self._end:
                raise ClusterError(f"{self._what}: not within {self._seconds:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
        self._begun = True
