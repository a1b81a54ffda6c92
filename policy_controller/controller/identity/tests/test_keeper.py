"""The keeper beside an API server: made once by many, repaired, rotated, and never without a certificate again."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from policy_controller.clock import SystemClock
from policy_controller.controller.api import Conflict, Kr8sApi, OwnObject, OwnObjects, Tree
from policy_controller.controller.identity import rotation
from policy_controller.controller.identity.authority import AUTHORITY_LIFE, LEAF_RENEWED, Authority
from policy_controller.controller.identity.dates import today
from policy_controller.controller.identity.keeper import BACKOFF_SECONDS, CHECK_SECONDS, NAME, Keeper
from policy_controller.controller.identity.rotation import ROTATED, SETTLED, Authorities
from policy_controller.controller.identity.source import NoCertificateYetError
from policy_controller.controller.identity.tests.own_objects import FakeOwnObjects
from policy_controller.controller.tests.objects import namespace, new
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.credentials import NAMESPACE

Record = Callable[[str, object], None]

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SECRET = OwnObject("secrets", NAMESPACE, NAME)
CONFIG_MAP = OwnObject("configmaps", NAMESPACE, NAME)
TURN = 1.5 * CHECK_SECONDS
LONGEST = 1.5 * BACKOFF_SECONDS[-1]


@dataclass
class Kept:
    api: FakeOwnObjects
    clock: FakeClock
    keeper: Keeper

    def today(self) -> datetime:
        return START + timedelta(seconds=self.clock.now())

    def bundle(self) -> str:
        text: str = self.api.trees[CONFIG_MAP]["data"]["ca.crt"]
        return text

    def hold(self, authorities: Authorities) -> None:
        """Somebody writes these into the Secret."""
        self.api._write(SECRET, {**self.api.trees[SECRET], "data": rotation.written(authorities)})


def keeper_of(api: OwnObjects, clock: FakeClock) -> Keeper:
    return Keeper(api, NAMESPACE, clock, lambda: START + timedelta(seconds=clock.now()))


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    api, clock = FakeOwnObjects(), FakeClock()
    keeper = keeper_of(api, clock)
    running = asyncio.create_task(keeper.run())
    await clock.advance(0)
    yield Kept(api, clock, keeper)
    assert not running.done()
    running.cancel()


async def test_there_is_a_certificate_once_the_authority_is_stored_and_published(kept: Kept) -> None:
    assert kept.keeper.ready.is_set()
    held = rotation.read(kept.api.trees[SECRET]["data"])
    assert kept.bundle() == held.bundle.decode()
    assert b"PRIVATE" not in kept.bundle().encode()
    assert kept.keeper.certificate().key.decode() not in str(kept.api.trees)
    assert kept.keeper.ends == START + timedelta(hours=24)


async def test_before_it_is_published_there_is_none() -> None:
    api, clock = FakeOwnObjects(), FakeClock()
    api.failing = {CONFIG_MAP.plural}
    keeper = keeper_of(api, clock)
    running = asyncio.create_task(keeper.run())
    await clock.advance(3 * LONGEST)
    assert not keeper.ready.is_set()
    assert "reset by peer" in keeper.trouble()
    with pytest.raises(NoCertificateYetError):
        keeper.certificate()
    api.failing.clear()
    await clock.advance(LONGEST)
    assert keeper.ready.is_set()
    assert keeper.trouble() == ""
    running.cancel()


async def test_an_operator_that_starts_again_shows_a_new_certificate_of_the_same_authority(
    kept: Kept,
) -> None:
    writes = kept.api.writes.copy()
    again = keeper_of(kept.api, kept.clock)
    running = asyncio.create_task(again.run())
    await kept.clock.advance(1.0)
    assert again.ready.is_set()
    assert again.certificate() != kept.keeper.certificate()
    assert kept.api.writes == writes
    running.cancel()


async def test_a_certificate_is_renewed_in_time_also_while_the_api_server_is_away(kept: Kept) -> None:
    first = kept.keeper.certificate()
    kept.api.failing = {SECRET.plural, CONFIG_MAP.plural}
    await kept.clock.advance((LEAF_RENEWED - timedelta(hours=1)).total_seconds())
    assert kept.keeper.certificate() == first
    await kept.clock.advance(3_600.0 + LONGEST)
    assert kept.keeper.certificate() != first
    ends = kept.keeper.ends
    assert ends is not None
    assert ends > kept.today() + timedelta(hours=23)


async def test_a_clock_that_passes_the_authoritys_end_while_the_api_server_is_away_ends_nothing() -> None:
    api, clock, late = FakeOwnObjects(), FakeClock(), [timedelta(0)]
    keeper = Keeper(api, NAMESPACE, clock, lambda: START + timedelta(seconds=clock.now()) + late[0])
    running = asyncio.create_task(keeper.run())
    await clock.advance(0)
    first = keeper.certificate()
    api.failing = {SECRET.plural, CONFIG_MAP.plural}
    late[0] = 2 * AUTHORITY_LIFE
    await clock.advance(TURN + LONGEST)
    assert not running.done()
    assert keeper.certificate() == first
    late[0] = timedelta(0)
    api.failing.clear()
    await clock.advance(LONGEST)
    assert keeper.certificate() == first
    assert rotation.read(api.trees[SECRET]["data"]).newest.ends == START + AUTHORITY_LIFE
    running.cancel()


async def test_a_new_authority_is_published_an_hour_before_it_signs(kept: Kept) -> None:
    old = Authorities(Authority.new(START - ROTATED + timedelta(minutes=10)))
    kept.hold(old)
    await kept.clock.advance(TURN)
    assert kept.bundle() == old.bundle.decode()
    assert _issuer(kept) == old.newest.certificate
    await kept.clock.advance(600.0 + TURN)
    new_one = rotation.read(kept.api.trees[SECRET]["data"])
    assert new_one.previous == old.newest
    assert kept.bundle() == (new_one.newest.certificate + old.bundle).decode()
    await kept.clock.advance(SETTLED.total_seconds() - 2 * TURN)
    assert _issuer(kept) == old.newest.certificate
    await kept.clock.advance(2 * TURN)
    assert _issuer(kept) == new_one.newest.certificate


async def test_an_authority_that_has_ended_is_trusted_no_more(kept: Kept) -> None:
    held = Authorities(Authority.new(START), Authority.new(START - AUTHORITY_LIFE + timedelta(minutes=10)))
    kept.hold(held)
    await kept.clock.advance(TURN)
    assert kept.bundle() == held.bundle.decode()
    await kept.clock.advance(600.0 + TURN)
    assert kept.bundle() == held.newest.certificate.decode()
    assert rotation.read(kept.api.trees[SECRET]["data"]) == Authorities(held.newest)


def _issuer(kept: Kept) -> bytes:
    leaf = kept.keeper._leaf
    assert leaf is not None
    return leaf.authority


Damage = Callable[[FakeOwnObjects], None]


def _without(place: OwnObject) -> Damage:
    def damage(api: FakeOwnObjects) -> None:
        del api.trees[place]

    return damage


def _with(place: OwnObject, **fields: object) -> Damage:
    def damage(api: FakeOwnObjects) -> None:
        tree: Tree = {**api.trees[place], **fields}
        api._write(place, tree)

    return damage


NOBODY = base64.b64encode(b"nobody").decode()
DAMAGE: dict[str, tuple[Damage, str]] = {
    "the Secret is deleted": (_without(SECRET), "secrets policy-controller/policy-controller-ca was deleted"),
    "the Secret is emptied": (_with(SECRET, data=None), "holds no authority (it is empty)"),
    "the Secret is broken": (_with(SECRET, data={"ca.key": NOBODY, "ca.crt": NOBODY}), "holds no authority"),
    "the ConfigMap is deleted": (
        _without(CONFIG_MAP),
        "configmaps policy-controller/policy-controller-ca was deleted",
    ),
    "the ConfigMap is emptied": (_with(CONFIG_MAP, data=None), "was changed by somebody else"),
    "the ConfigMap is changed": (_with(CONFIG_MAP, data={"ca.crt": "x"}), "was changed by somebody else"),
}


@pytest.mark.parametrize(("damage", "words"), DAMAGE.values(), ids=list(DAMAGE))
async def test_what_somebody_breaks_is_put_right_and_told(
    kept: Kept, damage: Damage, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    shown = kept.keeper.certificate()
    before = {place: tree["data"] for place, tree in kept.api.trees.items()}
    damage(kept.api)
    await kept.clock.advance(TURN)
    assert {place: tree["data"] for place, tree in kept.api.trees.items()} == before
    assert kept.keeper.certificate() == shown
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 1
    assert words in told[0]
    assert "PRIVATE" not in caplog.text


async def test_what_others_keep_in_secret_and_config_map_stays(kept: Kept) -> None:
    kept.hold(Authorities(Authority.new(START - ROTATED)))
    for place in (SECRET, CONFIG_MAP):
        tree = kept.api.trees[place]
        kept.api._write(place, {**tree, "data": {**tree["data"], "note": NOBODY}})
    await kept.clock.advance(TURN)
    assert rotation.read(kept.api.trees[SECRET]["data"]).previous is not None
    for place in (SECRET, CONFIG_MAP):
        assert kept.api.trees[place]["data"]["note"] == NOBODY


async def test_another_authority_that_somebody_puts_there_is_taken_over(kept: Kept) -> None:
    other = rotation.desired(None, START)
    kept.hold(other)
    await kept.clock.advance(TURN)
    assert kept.bundle() == other.bundle.decode()
    assert _issuer(kept) == other.newest.certificate


class Halting(FakeOwnObjects):
    """Stops before its n-th request until it may go on."""

    def __init__(self, behind: FakeOwnObjects, number: int) -> None:
        super().__init__()
        self.trees = behind.trees
        self._behind = behind
        self._left = number
        self.halted = asyncio.Event()
        self.go_on = asyncio.Event()

    def _write(self, place: OwnObject, tree: Tree) -> None:
        self._behind._write(place, tree)

    async def _pass(self, place: OwnObject) -> None:
        await super()._pass(place)
        if self._left == 0:
            self.halted.set()
            await self.go_on.wait()
        self._left -= 1


@pytest.mark.parametrize("number", range(2))
async def test_an_operator_that_is_overtaken_at_a_rotation_unpublishes_nothing(number: int) -> None:
    """It has made this many requests of its turn."""
    api, clock = FakeOwnObjects(), FakeClock()
    old = Authorities(Authority.new(START - ROTATED))
    api._write(SECRET, {"metadata": {}, "data": rotation.written(old)})
    api._write(CONFIG_MAP, {"metadata": {}, "data": {"ca.crt": old.bundle.decode()}})
    held_up = Halting(api, number)
    # By the slow one's clock the rotation is not due yet.
    slow = Keeper(held_up, NAMESPACE, clock, lambda: START + timedelta(seconds=clock.now() - 60.0))
    quick = keeper_of(api, clock)
    running = [asyncio.create_task(slow.run())]
    await held_up.halted.wait()
    running.append(asyncio.create_task(quick.run()))
    await eventually(quick.ready.is_set)
    published = api.trees[CONFIG_MAP]["data"]["ca.crt"]
    assert published != old.bundle.decode()
    held_up.go_on.set()
    # A conflict costs the slow one a turn.
    for _ in range(10):
        await clock.advance(1.0)
        assert api.trees[CONFIG_MAP]["data"]["ca.crt"] == published
    assert slow.ready.is_set()
    assert rotation.read(api.trees[SECRET]["data"]).bundle.decode() == published
    for task in running:
        task.cancel()


REPLICAS = 8


async def test_replicas_that_race_make_one_authority(tmp_path: Path, record_property: Record) -> None:
    async with ApiServer.running() as server:
        server.create(new(namespace(NAMESPACE)))
        (tmp_path / "kubeconfig").write_text(server.kubeconfig())
        keepers = [
            Keeper(Kr8sApi(str(tmp_path / "kubeconfig")), NAMESPACE, SystemClock(), today)
            for _ in range(REPLICAS)
        ]
        running = [asyncio.create_task(keeper.run()) for keeper in keepers]
        await eventually(lambda: all(keeper.ready.is_set() for keeper in keepers))
        held = rotation.read(server.get("Secret", NAME, NAMESPACE)["data"])
        assert held.previous is None
        assert server.get("ConfigMap", NAME, NAMESPACE)["data"] == {"ca.crt": held.bundle.decode()}
        leaves = [keeper._leaf for keeper in keepers]
        assert {leaf.authority for leaf in leaves if leaf is not None} == {held.newest.certificate}
        assert len({keeper.certificate() for keeper in keepers}) == REPLICAS
        for task in running:
            task.cancel()
    record_property("operators that raced for one authority", REPLICAS)


async def test_a_secret_is_replaced_only_over_the_version_that_was_read(tmp_path: Path) -> None:
    async with ApiServer.running() as server:
        server.create(new(namespace(NAMESPACE)))
        (tmp_path / "kubeconfig").write_text(server.kubeconfig())
        for api in (Kr8sApi(str(tmp_path / "kubeconfig")), FakeOwnObjects()):
            await _holds_versions(api)


async def _holds_versions(api: OwnObjects) -> None:
    """What real and fake have in common."""
    for place, kind in ((SECRET, "Secret"), (CONFIG_MAP, "ConfigMap")):
        assert await api.read(place) is None
        metadata = {"name": place.name, "namespace": place.namespace}
        tree: Tree = {"apiVersion": "v1", "kind": kind, "metadata": metadata, "data": {"a": NOBODY}}
        await api.create(place, tree)
        with pytest.raises(Conflict):
            await api.create(place, tree)
        first = await api.read(place)
        assert first is not None
        await api.replace(place, {**first, "data": {"b": NOBODY}})
        with pytest.raises(Conflict):
            await api.replace(place, {**first, "data": {"c": NOBODY}})
        second = await api.read(place)
        assert second is not None
        assert second["data"] == {"b": NOBODY}
