"""A kernel that refuses one object, has no memory, is busy or hangs, while pairs are asked without a pause.

What is refused by itself closes the gates that need it, and everything else of the generation is in force. Where everything is
refused or hangs, the old generation stays, and the other node is served.
"""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from compilers.model.words import Family
from compilers.ruleset.names import family_name
from compilers.ruleset.rule_set import RuleSet
from policy_controller.testing.agreement.tests.refused_ground import FAR, NEAR, Ground, admits, ground, until
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.probe import Outcome, Prober, Tally
from policy_controller.wire.messages import Ack, Nack, NackCause

pytestmark = [pytest.mark.packets, pytest.mark.timeout(300)]

ALLOWED = (("web", "db"), ("web", "api"))
DENIED = (("guest", "db"), ("free", "api"), ("guest", "web"))
"""Throughout, on one node and across."""


@pytest.fixture
def at() -> Iterator[Ground]:
    with ground() as made:
        yield made


async def begin(at: Ground) -> None:
    at.tell(admits("web", "db", "api"), admits("db", "web"), admits("api", "web"))
    for node in (at.near, at.far):
        await node.begin()
        assert isinstance(await node.snapshot(at.rule_set(node.name)), Ack)


def record(tally: Tally, record_property: Record) -> None:
    record_property("probes while a kernel refused", tally.probes)
    record_property("heartbeats while a kernel refused", tally.heartbeats)
    record_property("leaks while a kernel refused", tally.leaks)
    record_property("refusals while a kernel refused", tally.refusals)
    assert tally.is_clean, tally
    assert tally.probes > 100


def set_of_web(rule_set: RuleSet) -> str:
    (name,) = rule_set.classes[class_of_web(rule_set)].set_names
    return family_name(name, Family.IPV4)


def class_of_web(rule_set: RuleSet) -> str:
    (name,) = [pod.ingress for pod in rule_set.pods.values() if pod.name == "web" and pod.ingress]
    return name


@pytest.mark.parametrize(
    "name_of",
    [
        pytest.param(set_of_web, id="an element"),
        pytest.param(class_of_web, id="a rule", marks=pytest.mark.whole),
    ],
)
async def test_what_a_kernel_refuses_closes_its_pods_and_everything_else_is_in_force(
    at: Ground, name_of: Callable[[RuleSet], str], record_property: Record
) -> None:
    await begin(at)
    with at.probing(ALLOWED, DENIED) as probing:
        async with Prober() as prober:
            assert await at.answers(prober, "db", "web") == {Outcome.ACCEPTED}
            assert await at.answers(prober, "free", "db") == {Outcome.TIMED_OUT}
            at.tell(admits("web", "free", "api"), admits("db", "web", "free"))
            rule_set = at.rule_set(NEAR)
            at.near.nft.refuses = name_of(rule_set)
            answer = await at.near.snapshot(rule_set)
            assert isinstance(answer, Nack)
            assert answer.cause is NackCause.KERNEL
            assert answer.is_of_single_objects
            assert at.near.nft.refuses in answer.object
            assert "closed for that: ingress of shop/web" in answer.reason
            record_property("objects that a real kernel refused", 1)
            # Neither old nor new policy admits anybody to it, and whatever else changed is in force.
            for source in ("db", "free", "api"):
                assert await at.answers(prober, source, "web") == {Outcome.TIMED_OUT}
            assert await at.answers(prober, "free", "db") == {Outcome.ACCEPTED}
            at.near.nft.refuses = ""
            assert isinstance(await at.near.snapshot(rule_set), Ack)
            assert await at.answers(prober, "free", "web") == {Outcome.ACCEPTED}
        tally = await asyncio.to_thread(probing.stop)
    record(tally, record_property)


LACKS = {
    "EBUSY": "Device or resource busy",
    "ENOMEM": "Cannot allocate memory",
    "ENOBUFS": "No buffer space available",
}


@pytest.mark.whole
@pytest.mark.parametrize("sentence", LACKS.values(), ids=list(LACKS))
async def test_a_kernel_that_can_do_nothing_keeps_the_old_generation_and_others_are_served(
    at: Ground, sentence: str, record_property: Record
) -> None:
    await begin(at)
    with at.probing(ALLOWED, (*DENIED, ("free", "db"))) as probing:
        at.tell(admits("db", "web", "api"), admits("api", "web", "db"))
        at.near.nft.lacks, runs = sentence, at.near.nft.runs
        lacking = asyncio.create_task(at.near.snapshot(at.rule_set(NEAR)))
        began = time.monotonic()
        assert isinstance(await at.far.snapshot(at.rule_set(FAR)), Ack)
        record_property(
            "ms until the other node had it, all in all", round((time.monotonic() - began) * 1000)
        )
        answer = await lacking
        assert isinstance(answer, Nack)
        assert not answer.is_of_single_objects
        assert sentence in answer.reason
        # As often as is stated, and once more for what the nack closes for unknown addresses.
        assert 5 <= at.near.nft.runs - runs <= 12
        assert at.near.enforcement.trouble is not None
        at.near.nft.lacks = ""
        assert isinstance(await at.near.snapshot(at.rule_set(NEAR)), Ack)
        assert at.near.enforcement.trouble is None
        tally = await asyncio.to_thread(probing.stop)
    record(tally, record_property)


@pytest.mark.whole
async def test_a_kernel_that_hangs_keeps_the_old_generation_and_others_are_served(
    at: Ground, record_property: Record
) -> None:
    seconds = 60.0
    await begin(at)
    with at.probing(ALLOWED, (*DENIED, ("free", "db"))) as probing:
        at.tell(admits("db", "web", "api"), admits("api", "web", "db"))
        at.near.nft.go.clear()
        hanging = asyncio.create_task(at.near.snapshot(at.rule_set(NEAR)))
        await until(lambda: at.near.kernel.busy_seconds() > 0)
        began = time.monotonic()
        assert isinstance(await at.far.snapshot(at.rule_set(FAR)), Ack)
        assert time.monotonic() - began < seconds
        await asyncio.sleep(seconds)
        assert at.near.kernel.busy_seconds() > seconds
        at.near.nft.go.set()
        assert isinstance(await hanging, Ack)
        tally = await asyncio.to_thread(probing.stop)
    record_property("seconds for which a kernel hung", round(seconds))
    record(tally, record_property)
