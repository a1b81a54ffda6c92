"""The settings of the cluster: asked for again and again, never guessed at, and never lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from compilers.model.settings import CONFIG_MAP, DEFAULTS, ClusterSettings, Enforcement, ExistingConnections
from policy_controller.controller.api import OwnObject, Tree
from policy_controller.controller.cluster_settings import (
    ANSWER_SECONDS,
    BACKOFF_SECONDS,
    OFF,
    POLL_SECONDS,
    ClusterSettingsSource,
)
from policy_controller.controller.store import Store
from policy_controller.testing.clock import FakeClock

NAMESPACE = "policy-controller"
SWITCHED_OFF = ClusterSettings(Enforcement.OFF)


class Saying:
    """An API server that holds one ConfigMap, or fails, or does not answer."""

    def __init__(self) -> None:
        self.tree: Tree | None = None
        self.failure: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()
        self.asked: list[OwnObject] = []

    def hold(self, version: int, **data: object) -> None:
        self.tree = {
            "metadata": {"namespace": NAMESPACE, "name": CONFIG_MAP, "resourceVersion": str(version)},
            "data": data,
        }

    async def read(self, place: OwnObject) -> Tree | None:
        self.asked.append(place)
        await self.answering.wait()
        if self.failure is not None:
            raise self.failure
        return self.tree


@dataclass
class Asking:
    api: Saying
    store: Store
    clock: FakeClock
    source: ClusterSettingsSource

    def warned(self) -> str:
        return "\n".join(map(str, self.source.warnings))

    async def poll(self) -> None:
        await self.clock.advance(POLL_SECONDS)


@asynccontextmanager
async def asking(api: Saying) -> AsyncIterator[Asking]:
    clock, store = FakeClock(), Store()
    source = ClusterSettingsSource(api, store, NAMESPACE, clock)
    running = asyncio.create_task(source.run())
    try:
        await clock.advance(0)
        yield Asking(api, store, clock, source)
        assert not running.done()
    finally:
        running.cancel()


async def test_without_a_config_map_the_defaults_hold() -> None:
    async with asking(Saying()) as one:
        assert one.source.known.is_set()
        assert one.store.settings == DEFAULTS
        assert one.store.stands().settings == 0
        assert (one.source.complaints, one.source.warnings) == ([], [])
        assert one.api.asked == [OwnObject("configmaps", NAMESPACE, CONFIG_MAP)]


async def test_what_is_written_holds_by_the_next_question_and_what_is_deleted_no_longer() -> None:
    async with asking(Saying()) as one:
        one.api.hold(7, enforcement="off")
        await one.poll()
        assert one.store.settings == SWITCHED_OFF
        assert one.store.stands().settings == 7
        assert one.warned() == OFF
        one.api.hold(9, existingConnections="cut")
        await one.poll()
        assert one.store.settings == ClusterSettings(existing_connections=ExistingConnections.CUT)
        assert one.warned() == ""
        one.api.tree = None
        await one.poll()
        assert one.store.settings == DEFAULTS
        # Later than all that the ConfigMap ever held, and not later than another that is made after it.
        assert one.store.stands().settings == 10
        one.api.hold(12, enforcement="off")
        await one.poll()
        assert (one.store.settings, one.store.stands().settings) == (SWITCHED_OFF, 12)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"enforcement": "onn"}, 'data.enforcement: "onn" is no value of enforcement'),
        ({"enforcement": "staged"}, "audit log"),
        ({"enforcement": "enforced", "enforcment": "off"}, "did you mean enforcement?"),
    ],
)
async def test_what_is_not_understood_changes_nothing_and_is_told(
    data: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    api = Saying()
    api.hold(7, enforcement="off")
    async with asking(api) as one:
        api.hold(8, **data)
        await one.poll()
        await one.poll()
        assert (one.store.settings, one.store.stands().settings) == (SWITCHED_OFF, 7)
        assert one.source.invalid
        assert words in one.warned()
        assert "enforcement off stays in force" in one.warned()
        assert sum(words in record.getMessage() for record in caplog.records) == 1
        api.hold(9)
        await one.poll()
        assert (one.store.settings, one.warned(), one.source.invalid) == (DEFAULTS, "", False)


SINCE_THE_START = (
    "ConfigMap policy-controller is invalid since the start: "
    "defaults hold (enforcement enforced, existingConnections keep)."
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"enforcement": "of"}, 'data.enforcement: "of" is no value of enforcement'),
        ({"enforcement": "off", "existingConnections": "drop"}, "data.existingConnections: "),
        ({"enforcement": "off", "enforcment": "off"}, "data.enforcment: "),
    ],
)
async def test_an_operator_that_starts_with_what_is_not_understood_enforces_and_says_since_when(
    data: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert DEFAULTS.enforcement is Enforcement.ENFORCED
    api = Saying()
    api.hold(8, **data)
    async with asking(api) as one:
        assert one.source.known.is_set()
        for _ in range(2):
            assert (one.store.settings, one.store.stands().settings) == (DEFAULTS, 0)
            (warning,) = one.source.warnings
            assert warning.sentence == SINCE_THE_START
            assert words in warning.cause
            await one.poll()
        assert sum(SINCE_THE_START in message for message in caplog.messages) == 1
        # Once something was understood, that is what stays.
        api.hold(9, enforcement="off")
        await one.poll()
        assert (one.store.settings, one.warned()) == (SWITCHED_OFF, OFF)
        api.hold(10, **data)
        await one.poll()
        assert "enforcement off stays in force" in one.warned()
        assert "since the start" not in one.warned()


async def test_a_config_map_that_is_made_later_is_not_invalid_since_the_start() -> None:
    async with asking(Saying()) as one:
        one.api.hold(3, enforcement="of")
        await one.poll()
        assert one.warned().startswith(
            "ConfigMap policy-controller is not understood: enforcement enforced stays in force."
        )


async def test_before_the_first_answer_nothing_is_known_and_the_reason_is_told() -> None:
    api = Saying()
    api.hold(7, enforcement="off")
    api.failure = PermissionError('cannot get resource "configmaps"\x1b[31m')
    async with asking(api) as one:
        assert not one.source.known.is_set()
        (complaint,) = one.source.complaints
        assert 'cannot get resource "configmaps"' in str(complaint)
        assert "\x1b" not in str(complaint)
        assert "configmaps" not in complaint.sentence
        api.failure = None
        await one.clock.advance(BACKOFF_SECONDS[0])
        assert one.source.known.is_set()
        assert one.source.complaints == []
        assert one.store.settings == SWITCHED_OFF


async def test_an_api_server_that_is_away_or_silent_takes_nothing_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = Saying()
    api.hold(7, enforcement="off")
    async with asking(api) as one:
        api.failure = ConnectionResetError("reset")
        await one.clock.advance(300)
        assert one.store.settings == SWITCHED_OFF
        assert "enforcement off stays in force" in one.warned()
        # Not more often than after the longest pause.
        assert one.source.failures <= 300 / BACKOFF_SECONDS[-1] + len(BACKOFF_SECONDS)
        warned = [record for record in caplog.records if record.levelname == "WARNING"]
        assert sum("could not read" in record.getMessage() for record in warned) == 1
        api.failure = None
        await one.clock.advance(BACKOFF_SECONDS[-1])
        assert one.warned() == OFF
        api.answering.clear()
        asked = len(api.asked)
        await one.clock.advance(300)
        assert one.store.settings == SWITCHED_OFF
        # A question that nobody answers is given up, and asked again.
        assert len(api.asked) > asked + 5
        assert "TimeoutError" in one.warned()
        api.answering.set()
        api.hold(8)
        # Whatever it waits for: a question that is given up, and the pause after it.
        await one.clock.advance(ANSWER_SECONDS + BACKOFF_SECONDS[-1])
        assert (one.store.settings, one.warned()) == (DEFAULTS, "")
