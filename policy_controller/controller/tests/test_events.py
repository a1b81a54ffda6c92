"""One Event for each thing that is wrong with a policy, by a fake clock and a fake API."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from compilers.model.faults import Fault, ObjectRef
from policy_controller.controller.complaints import LONGEST_MESSAGE, message_of
from policy_controller.controller.events import (
    PAUSE_SECONDS,
    RETRY_SECONDS,
    PolicyEvents,
)
from policy_controller.controller.kinds import Kind
from policy_controller.controller.store import Store
from policy_controller.controller.tests.fake_api import FakeApi
from policy_controller.controller.tests.objects import Tree, allow_from, policy
from policy_controller.testing.clock import FakeClock

BROKEN = allow_from({"app": "web"}, port=70000)
BROKEN_OTHERWISE = allow_from({"app": "web"}, port=-1)
SOUND = allow_from({"app": "web"})


@dataclass
class Lab:
    store: Store = field(default_factory=Store)
    api: FakeApi = field(default_factory=FakeApi)
    clock: FakeClock = field(default_factory=FakeClock)
    without_room: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        self.events = PolicyEvents(self.store, self.api, self.clock, lambda: self.without_room)
        self.store.subscribe(self.events.wake)
        self.task = asyncio.create_task(self.events.run())

    async def put(self, name: str, spec: Tree, version: int) -> None:
        self.store.put(Kind.POLICY, policy(name, spec, version=version))
        await self.clock.advance(PAUSE_SECONDS)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    made = Lab()
    yield made
    made.task.cancel()


def text(event: Mapping[str, object], name: str) -> str:
    value = event[name]
    assert isinstance(value, str)
    return value


async def test_an_event_names_field_reason_and_what_is_closed(lab: Lab) -> None:
    await lab.put("allow-web", BROKEN, 1)
    (event,) = lab.api.events
    involved: Any = event["involvedObject"]
    assert involved["kind"] == "NetworkPolicy"
    assert (involved["namespace"], involved["name"]) == ("shop", "allow-web")
    assert involved["uid"] == "uid-shop-allow-web"
    assert involved["fieldPath"] == "spec.ingress[0].ports[0].port"
    message = text(event, "message")
    assert message.startswith("spec.ingress[0].ports[0].port: ")
    assert message.endswith("Until it is mended it admits no ingress of the pods it selects.")


async def test_a_policy_without_a_readable_selector_is_said_to_close_its_namespace(lab: Lab) -> None:
    await lab.put("deny", {"podSelector": 7, "policyTypes": ["Ingress", "Egress"]}, 1)
    assert text(lab.api.events[0], "message").endswith(
        "it admits no egress and ingress of every pod of the namespace."
    )


async def test_an_event_is_repeated_only_when_the_faults_change(lab: Lab) -> None:
    await lab.put("allow-web", BROKEN, 1)
    await lab.put("allow-web", {**BROKEN, "podSelector": {"matchLabels": {"a": "b"}}}, 2)
    await lab.put("another", SOUND, 3)
    assert len(lab.api.events) == 1
    await lab.put("allow-web", BROKEN_OTHERWISE, 4)
    assert len(lab.api.events) == 2
    await lab.put("allow-web", SOUND, 5)
    await lab.put("allow-web", BROKEN, 6)
    assert len(lab.api.events) == 3


async def test_the_same_faults_make_an_event_of_the_same_name(lab: Lab) -> None:
    """So that an operator that was restarted writes nothing new."""
    await lab.put("allow-web", BROKEN, 1)
    await lab.put("allow-web", SOUND, 2)
    await lab.put("allow-web", BROKEN, 3)
    first, second = lab.api.events
    assert first["metadata"] == second["metadata"]


async def test_a_failure_is_tried_again_a_few_times_and_then_left(lab: Lab) -> None:
    lab.api.failing = 1000
    await lab.put("allow-web", BROKEN, 1)
    await lab.clock.advance(sum(RETRY_SECONDS) * 3)
    assert lab.events.failures == len(RETRY_SECONDS) + 1
    lab.api.failing = 0
    await lab.put("another", BROKEN, 2)
    assert len(lab.api.events) == 1


async def test_an_event_comes_through_after_failures(lab: Lab) -> None:
    lab.api.failing = 2
    await lab.put("allow-web", BROKEN, 1)
    await lab.clock.advance(sum(RETRY_SECONDS[:2]) + 1.0)
    assert len(lab.api.events) == 1


async def test_many_broken_policies_are_told_one_after_the_other(lab: Lab) -> None:
    for number in range(20):
        lab.store.put(Kind.POLICY, policy(f"policy-{number}", BROKEN, version=number + 1))
    await lab.clock.advance(PAUSE_SECONDS * 5)
    assert 4 <= len(lab.api.events) <= 7
    await lab.clock.advance(PAUSE_SECONDS * 20)
    assert len(lab.api.events) == 20


@pytest.mark.parametrize("reasons", [["x" * 5000], ["x" * 300] * 50, ["short", "y" * 5000]])
def test_a_message_fits_and_ends_with_the_consequence(reasons: list[str]) -> None:
    ref = ObjectRef("NetworkPolicy", "shop", "web")
    message = message_of([Fault(ref, ("spec",), reason) for reason in reasons], "It is closed.")
    assert len(message) <= LONGEST_MESSAGE
    assert message.startswith(f"spec: {reasons[0][:5]}")
    assert message.endswith("It is closed.")


async def test_a_policy_that_there_is_no_room_for_is_told_as_one_with_faults(lab: Lab) -> None:
    await lab.put("large", SOUND, 1)
    assert not lab.api.events
    ref = ObjectRef("NetworkPolicy", "shop", "large")
    lab.without_room = (Fault(ref, ("spec", "ingress"), "this policy has more than 16,384 rules"),)
    lab.events.wake()
    await lab.clock.advance(PAUSE_SECONDS)
    assert text(lab.api.events[0], "message") == "spec.ingress: this policy has more than 16,384 rules."


async def test_policies_that_share_a_uid_are_each_told(lab: Lab) -> None:
    for number in (1, 2):
        tree = policy(f"policy-{number}", BROKEN, version=number, uid="same")
        lab.store.put(Kind.POLICY, tree)
    await lab.clock.advance(5 * PAUSE_SECONDS)
    assert len(lab.api.events) == 2
