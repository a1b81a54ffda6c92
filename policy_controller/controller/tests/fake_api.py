"""The operator's own requests answered from memory: what it lists, what it writes, and failures on demand.

Knows the ClusterApi protocol. The real one is run against the development API server in test_api.py.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping

from policy_controller.controller.api import Listing
from policy_controller.controller.kinds import Kind
from policy_controller.controller.tests.objects import Tree


class FakeApi:
    """Lists `trees` at `version`. While `failing` holds a number, that many requests fail first."""

    def __init__(self) -> None:
        self.trees: dict[Kind, list[Tree]] = {kind: [] for kind in Kind}
        self.version = 1
        self.failing = 0
        self.forbidden: set[Kind] = set()
        """Kinds of which no LIST succeeds."""
        self.lists: Counter[Kind] = Counter()
        self.events: list[Mapping[str, object]] = []
        self.answering = asyncio.Event()
        """Cleared, LISTs wait."""
        self.answering.set()

    async def list(self, kind: Kind) -> Listing:
        """The present trees, as they were when asked for."""
        self._fail()
        if kind in self.forbidden:
            raise PermissionError(f"{kind.value} is forbidden\n\x1b[31m")
        self.lists[kind] += 1
        listing = Listing(tuple(self.trees[kind]), self.version)
        await self.answering.wait()
        return listing

    async def create_event(self, namespace: str, event: Mapping[str, object]) -> None:
        """Keep the event."""
        self._fail()
        metadata = event["metadata"]
        assert isinstance(metadata, Mapping)
        assert metadata["namespace"] == namespace
        self.events.append(event)

    def _fail(self) -> None:
        if self.failing:
            self.failing -= 1
            raise ConnectionResetError("connection reset by peer")
