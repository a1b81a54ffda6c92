"""The operator's Secret and ConfigMap in memory, with the API server's rules on versions, and failures on demand.

Knows the OwnObjects protocol. The real one is run against the development API server beside it.
"""

import asyncio
import copy
from collections import Counter

from policy_controller.controller.api import Conflict, OwnObject, Tree


class FakeOwnObjects:
    """Objects by place. While `failing` is set, every request fails."""

    def __init__(self) -> None:
        self.trees: dict[OwnObject, Tree] = {}
        self.failing: set[str] = set()
        """Plurals of which no request succeeds."""
        self.writes: Counter[str] = Counter()
        self._version = 0

    async def read(self, place: OwnObject) -> Tree | None:
        """The object as it is now."""
        await self._pass(place)
        return copy.deepcopy(self.trees.get(place))

    async def create(self, place: OwnObject, tree: Tree) -> None:
        """Make it."""
        await self._pass(place)
        if place in self.trees:
            raise Conflict(str(place))
        self._write(place, tree)

    async def replace(self, place: OwnObject, tree: Tree) -> None:
        """Write it over the version named."""
        await self._pass(place)
        found = self.trees.get(place)
        if found is None or found["metadata"]["resourceVersion"] != tree["metadata"]["resourceVersion"]:
            raise Conflict(str(place))
        self._write(place, tree)

    def _write(self, place: OwnObject, tree: Tree) -> None:
        self._version += 1
        self.writes[place.plural] += 1
        written = copy.deepcopy(tree)
        written["metadata"]["resourceVersion"] = str(self._version)
        self.trees[place] = written

    async def _pass(self, place: OwnObject) -> None:
        # Others have their turn between any two requests.
        await asyncio.sleep(0)
        if place.plural in self.failing:
            raise ConnectionResetError("connection reset by peer")
