"""LISTs by a fake clock: when they are asked for, what a failure costs, what they never undo."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from policy_controller.controller.kinds import DECIDING, Kind
from policy_controller.controller.relist import (
    BACKOFF_SECONDS,
    OVERDUE_INTERVALS,
    RESTORED_SECONDS,
    SETTLE_SECONDS,
    Relister,
)
from policy_controller.controller.store import Store
from policy_controller.controller.tests.fake_api import FakeApi
from policy_controller.controller.tests.objects import pod
from policy_controller.testing.clock import FakeClock

INTERVAL = 300.0


@dataclass
class Lab:
    api: FakeApi
    store: Store
    clock: FakeClock
    relister: Relister

    def start(self) -> None:
        self.task = asyncio.create_task(self.relister.run())


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    api, store, clock = FakeApi(), Store(), FakeClock()
    made = Lab(api, store, clock, Relister(api, store, clock, INTERVAL))
    yield made
    made.task.cancel()


async def test_it_is_synced_when_the_lists_have_answered_and_not_before(lab: Lab) -> None:
    lab.api.answering.clear()
    lab.start()
    await lab.clock.advance(1.0)
    assert not lab.relister.synced.is_set()
    lab.api.answering.set()
    await lab.clock.advance(0.0)
    assert lab.relister.synced.is_set()
    assert lab.api.lists == dict.fromkeys(Kind, 1)


@pytest.mark.parametrize("kind", Kind)
async def test_a_kind_that_cannot_be_listed_keeps_no_other_from_it(lab: Lab, kind: Kind) -> None:
    lab.start()
    await lab.clock.advance(0.0)
    lab.api.forbidden = {kind}
    for _ in range(3):
        lab.relister.request()
        await lab.clock.advance(SETTLE_SECONDS)
    assert lab.api.lists == {other: 1 if other is kind else 4 for other in Kind}
    lab.api.forbidden = set()
    await lab.clock.advance(BACKOFF_SECONDS[-1] * 1.5)
    assert lab.api.lists[kind] > 1


@pytest.mark.parametrize("kind", Kind)
async def test_it_is_synced_without_nodes_but_without_no_kind_that_rules_are_made_of(
    lab: Lab, kind: Kind
) -> None:
    lab.api.forbidden = {kind}
    lab.start()
    await lab.clock.advance(INTERVAL)
    told = [trouble.sentence for trouble in lab.relister.complaints()]
    if kind is Kind.NODE:
        assert lab.relister.synced.is_set()
        assert told == []
    else:
        assert not lab.relister.synced.is_set()
        assert told == [f"{kind.value} objects have not been listed yet: PermissionError."]


@pytest.mark.parametrize("kind", Kind)
async def test_a_kind_that_was_not_listed_for_long_is_told_of_with_the_last_error(
    lab: Lab, kind: Kind
) -> None:
    lab.start()
    await lab.clock.advance(0.0)
    lab.api.forbidden = {kind}
    # What decides nothing keeps nobody from being served, so it is told as a warning.
    told = lab.relister.complaints if kind in DECIDING else lab.relister.warnings
    await lab.clock.advance(OVERDUE_INTERVALS * INTERVAL)
    assert lab.relister.complaints() + lab.relister.warnings() == []
    await lab.clock.advance(1.0)
    (trouble,) = told()
    assert lab.relister.complaints() + lab.relister.warnings() == [trouble]
    assert trouble.sentence == f"{kind.value} objects have not been listed for 901 s: PermissionError."
    assert trouble.cause
    assert str(trouble).isprintable()
    assert [other for other in Kind if lab.relister.overdue(other)] == [kind]
    lab.api.forbidden = set()
    await lab.clock.advance(BACKOFF_SECONDS[-1] * 1.5)
    assert lab.relister.complaints() + lab.relister.warnings() == []


async def test_a_kind_whose_list_never_answers_is_told_of_too(lab: Lab) -> None:
    lab.start()
    await lab.clock.advance(0.0)
    lab.api.answering.clear()
    await lab.clock.advance(OVERDUE_INTERVALS * INTERVAL + 1.0)
    assert len(lab.relister.complaints()) == len(DECIDING)
    assert len(lab.relister.warnings()) == len(Kind) - len(DECIDING)


async def test_failures_are_tried_again_for_ever_with_growing_pauses(lab: Lab) -> None:
    lab.api.failing = 100
    lab.start()
    await lab.clock.advance(sum(BACKOFF_SECONDS) * 1.5)
    assert not lab.relister.synced.is_set()
    assert len(BACKOFF_SECONDS) <= lab.relister.failures[Kind.POD] <= len(BACKOFF_SECONDS) + 3
    await lab.clock.advance(BACKOFF_SECONDS[-1] * 1.5 * 25)
    assert lab.relister.synced.is_set()


async def test_a_list_comes_every_interval_and_soon_after_a_watch_gap(lab: Lab) -> None:
    lab.start()
    await lab.clock.advance(INTERVAL - 1.0)
    assert lab.api.lists[Kind.POD] == 1
    await lab.clock.advance(1.0)
    assert lab.api.lists[Kind.POD] == 2
    for _ in range(50):
        lab.relister.request()
    await lab.clock.advance(SETTLE_SECONDS)
    assert lab.api.lists[Kind.POD] == 3
    await lab.clock.advance(INTERVAL - 1.0)
    assert lab.api.lists[Kind.POD] == 3


async def test_what_came_while_a_list_was_under_way_is_neither_removed_nor_brought_back(lab: Lab) -> None:
    lab.api.trees[Kind.POD] = [pod("old", version=1), pod("gone", version=2)]
    lab.api.version = 5
    lab.api.answering.clear()
    lab.start()
    await lab.clock.advance(0.0)

    lab.store.put(Kind.POD, pod("new", version=6))
    lab.store.remove(Kind.POD, pod("gone", version=7))
    lab.api.answering.set()
    await lab.clock.advance(0.0)

    assert [one.name for one in lab.store.cluster().pods] == ["new", "old"]


async def test_a_repair_is_counted_and_the_first_picture_is_none(lab: Lab) -> None:
    lab.api.trees[Kind.POD] = [pod("web", version=1), pod("db", version=2)]
    lab.api.version = 2
    lab.start()
    await lab.clock.advance(0.0)
    assert not lab.relister.repairs

    lab.api.trees[Kind.POD] = [pod("web", address="10.0.0.1", version=3)]
    lab.api.version = 4
    await lab.clock.advance(INTERVAL)

    assert lab.relister.repairs == {(Kind.POD, "changed"): 1, (Kind.POD, "removed"): 1}
    assert [one.name for one in lab.store.cluster().pods] == ["web"]


async def test_an_older_list_takes_nothing_away_and_is_asked_for_again(lab: Lab) -> None:
    lab.api.trees[Kind.POD] = [pod("web", version=8), pod("db", version=9)]
    lab.api.version = 9
    lab.start()
    await lab.clock.advance(0.0)

    lab.api.trees[Kind.POD], lab.api.version = [], 5
    await lab.clock.advance(INTERVAL)
    assert [one.name for one in lab.store.cluster().pods] == ["db", "web"]
    assert lab.relister.failures[Kind.POD] == 1

    # The next answer comes from a server that has caught up.
    lab.api.trees[Kind.POD], lab.api.version = [pod("web", version=8)], 12
    await lab.clock.advance(BACKOFF_SECONDS[0] * 1.5)
    assert [one.name for one in lab.store.cluster().pods] == ["web"]
    assert lab.relister.repairs == {(Kind.POD, "removed"): 1}


async def test_a_cluster_restored_from_a_backup_is_taken_when_its_lists_stay_older(lab: Lab) -> None:
    lab.api.trees[Kind.POD] = [pod("web", version=8), pod("db", version=9)]
    lab.api.version = 9
    lab.start()
    await lab.clock.advance(0.0)
    lab.api.trees[Kind.POD], lab.api.version = [pod("web", version=3)], 5
    await lab.clock.advance(INTERVAL + RESTORED_SECONDS - 1.0)
    assert [one.name for one in lab.store.cluster().pods] == ["db", "web"]
    await lab.clock.advance(BACKOFF_SECONDS[-1] * 1.5 + 1.0)
    assert [one.name for one in lab.store.cluster().pods] == ["web"]
    assert lab.store.version_of(Kind.POD) == 5


async def test_a_cluster_whose_events_go_on_counting_is_not_restored_however_old_its_lists(lab: Lab) -> None:
    lab.api.trees[Kind.POD] = [pod("web", version=8)]
    lab.api.version = 9
    lab.start()
    await lab.clock.advance(0.0)
    lab.api.trees[Kind.POD], lab.api.version = [], 5
    for version in range(10, 20):
        await lab.clock.advance(RESTORED_SECONDS / 2)
        lab.store.put(Kind.POD, pod("db", version=version))
    assert [one.name for one in lab.store.cluster().pods] == ["db", "web"]
