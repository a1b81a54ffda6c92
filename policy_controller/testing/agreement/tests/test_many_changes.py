"""10,000 pod changes a minute, for a simulated hour: every node has what the last state says, and memory is flat.

By a fake clock: a second's changes come at once and are compiled together.
"""

import asyncio
import gc
import itertools
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from policy_controller.controller.kinds import Kind
from policy_controller.controller.tests import objects
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.agreement.tests.in_memory import DEBOUNCE, InMemory
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.extent import Extent
from policy_controller.testing.generators import seeded

pytestmark = pytest.mark.timeout(1800)

NODES: Final = ("node-a", "node-b", "node-c", "node-d")
PODS: Final = 400
CHANGES: Final = 167
"""Of each second: 10,020 a minute."""
RELIST_SECONDS: Final = 300
"""The operator lists everything once in so many (its setting's default)."""
WARM_MINUTES: Final = 25
"""By then every memory that is bounded has been filled once: 65,536 addresses that ended are the last."""
GROWTH: Final = 1.05
"""How much larger than in the warm state memory may be later."""
APPS: Final = ("web", "api", "db", "job")
POLICIES: Final = (
    objects.policy("closed"),
    objects.policy("into-web", objects.allow_from({"app": "api"})),
    objects.policy("into-db", {**objects.allow_from({"app": "api"}, port="http"), "podSelector": {}}),
)
MEBIBYTE: Final = 1 << 20


class Town:
    """Pods that come, go, change their labels and take over addresses of others."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.version = 1
        self._numbers = itertools.count()
        self._pods: list[objects.Tree] = []
        # Many more than are in use: an address is used again after a while, as pod networks do it.
        self._free = deque(f"10.{a}.{b}.{c}" for a in range(1, 5) for b in range(64) for c in range(1, 255))

    def first(self) -> Iterator[objects.Tree]:
        """The pods of the beginning."""
        for _ in range(PODS):
            yield self._born()

    def change(self) -> tuple[objects.Tree | None, objects.Tree | None]:
        """The next change: who is shown, and who is gone."""
        self.version += 1
        place = self._rng.randrange(len(self._pods))
        pod = self._pods[place]
        if self._rng.random() < 0.3:
            changed = self._at(pod, labels={"app": self._rng.choice(APPS)})
            self._pods[place] = changed
            return changed, None
        if len(self._pods) > PODS:
            self._pods[place] = self._pods[-1]
            self._pods.pop()
            self._free.append(pod["status"]["podIPs"][0]["ip"])
            return None, self._at(pod)
        return self._born(), None

    def all(self) -> list[objects.Tree]:
        """Every pod there is."""
        return self._pods

    def _born(self) -> objects.Tree:
        number, self.version = next(self._numbers), self.version + 1
        tree = objects.pod(
            f"pod-{number}",
            address=self._free.popleft(),
            node=NODES[number % len(NODES)],
            labels={"app": APPS[number % len(APPS)]},
            version=self.version,
        )
        self._pods.append(tree)
        return tree

    def _at(self, pod: objects.Tree, **metadata: object) -> objects.Tree:
        return {**pod, "metadata": {**pod["metadata"], "resourceVersion": str(self.version), **metadata}}


async def second(town: Town, path: InMemory, clock: FakeClock) -> None:
    """A second's changes, until every node has acknowledged them."""
    for _ in range(CHANGES):
        shown, gone = town.change()
        if shown is not None:
            path.store.put(Kind.POD, shown)
        if gone is not None:
            path.store.remove(Kind.POD, gone)
    await settle(path, clock)
    await clock.advance(1.0 - DEBOUNCE)


async def settle(path: InMemory, clock: FakeClock) -> None:
    rounds = path.rounds
    await clock.advance(DEBOUNCE)
    await eventually(lambda: path.rounds > rounds)
    await asyncio.sleep(0)
    path.follow()


def relist(town: Town, path: InMemory) -> None:
    """What a LIST shows takes the place of what is remembered."""
    began = path.store.version_of(Kind.POD)
    seen = [one for tree in town.all() if (one := path.store.known(Kind.POD, tree)) is not None]
    repair = path.store.replace_all(Kind.POD, seen, town.version, began)
    assert (repair.changed, repair.removed) == ((), ())


def held_bytes() -> int:
    """Bytes of memory that this process has of its own (proc(5), statm)."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return resident * os.sysconf("SC_PAGE_SIZE")


async def test_ten_thousand_pod_changes_a_minute_converge_and_take_no_more_memory_with_time(
    extent: Extent, record_property: Record
) -> None:
    minutes = extent.choose(1, 60)
    clock, town = FakeClock(), Town(seeded(17))
    objects_at, bytes_at = list[int](), list[int]()
    async with InMemory(clock, NODES) as path:
        path.store.put(Kind.NAMESPACE, objects.namespace("shop", version=1))
        for policy in POLICIES:
            metadata = {**policy["metadata"], "resourceVersion": "1"}
            path.store.put(Kind.POLICY, {**policy, "metadata": metadata})
        for tree in town.first():
            path.store.put(Kind.POD, tree)
        await settle(path, clock)
        for number in range(60 * minutes):
            await second(town, path, clock)
            assert path.is_settled()
            if (number + 1) % RELIST_SECONDS == 0:
                relist(town, path)
                assert path.has_converged()
                bytes_at.append(held_bytes())
                objects_at.append(len(gc.get_objects()))
        assert path.has_converged()
    record_property("pod changes of a simulated hour", 60 * minutes * CHANGES)
    if not bytes_at:
        return
    warm = WARM_MINUTES * 60 // RELIST_SECONDS - 1
    record_property("MiB held after 25 simulated minutes of pod changes", bytes_at[warm] / MEBIBYTE)
    record_property("MiB held after the whole simulated hour", bytes_at[-1] / MEBIBYTE)
    assert max(objects_at[warm:]) < GROWTH * objects_at[warm], objects_at
    assert max(bytes_at[warm:]) < GROWTH * bytes_at[warm], bytes_at
