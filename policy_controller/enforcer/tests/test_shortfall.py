"""A kernel that refuses single objects of a generation: they are named, the gates that need them close, the rest is in force."""

from collections.abc import Sequence

import pytest

from compilers.model.words import Direction, Family
from compilers.nftables.transaction import NftRejectedError, Rejection, Transaction
from compilers.ruleset.closing import Closing, closing
from compilers.ruleset.digest import digest_of
from compilers.ruleset.names import family_name
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.gates import Knowledge
from policy_controller.enforcer.shortfall import MOST
from policy_controller.enforcer.tests.states import (
    NOBODY_ISOLATED,
    OUT,
    PEERS,
    THREE,
    TWO,
    WEB_8080,
    WEB_CHANGED,
    WEB_ISOLATED,
    pod,
    policy_class,
    rule_set,
)
from policy_controller.enforcer.tests.test_enforcement import Node, Refusing, node
from policy_controller.wire.messages import Ack, Nack, NackCause


class Choosy(Refusing):
    """Refuses every transaction with a command that has all of one row's words in it."""

    def __init__(self, *words: Sequence[str], reason: Rejection = Rejection.INVALID) -> None:
        super().__init__()
        self.dislikes: list[Sequence[str]] = list(words)
        self.of = reason

    def run(self, transaction: Transaction) -> None:
        for index, command in enumerate(transaction.commands):
            text = command.text()
            if any(all(word in text for word in words) for words in self.dislikes):
                raise NftRejectedError(self.of, "it is so", index, text)
        super().run(transaction)


SET = family_name(PEERS, Family.IPV4)
NOW: RuleSet = rule_set(
    [pod("web", TWO, WEB_8080), pod("other", THREE, OUT), pod("free", "10.0.0.9")],
    [WEB_8080, OUT],
    peers=THREE,
)
ALL_THAT_NEED_THE_PEERS = closing(NOW, PEERS)
WEB_ALONE = closing(NOW, WEB_8080.name)

ROWS: dict[str, tuple[Sequence[str], RuleSet, Closing | None]] = {
    "a set": (("add set", SET), NOBODY_ISOLATED, ALL_THAT_NEED_THE_PEERS),
    "an element of a set": (("add element", SET), WEB_ISOLATED, ALL_THAT_NEED_THE_PEERS),
    "an element that leaves a set": (("delete element", SET), WEB_ISOLATED, ALL_THAT_NEED_THE_PEERS),
    "a rule": (("add rule", f" {WEB_8080.name} ", "8080"), WEB_ISOLATED, WEB_ALONE),
    "a chain of a class": (("add chain", WEB_8080.name), WEB_ISOLATED, WEB_ALONE),
    "what leads a pod to its class": (("add rule", f"jump {WEB_8080.name}"), WEB_ISOLATED, WEB_ALONE),
}


@pytest.mark.parametrize("reason", [Rejection.INVALID, Rejection.EXISTS, Rejection.OTHER])
@pytest.mark.parametrize(("words", "before", "left"), ROWS.values(), ids=list(ROWS))
async def test_what_is_refused_is_named_its_gates_close_and_everything_else_is_in_force(
    words: Sequence[str], before: RuleSet, left: Closing | None, reason: Rejection
) -> None:
    nft = Choosy(reason=reason)
    async with node(nft) as one:
        await one.snapshot(1, before)
        nft.dislikes = [words]
        answer = await one.delta(2, before, NOW)
        assert isinstance(answer, Nack)
        assert (answer.cause, answer.generation, answer.generation_in_force) == (NackCause.KERNEL, 2, 2)
        assert all(word.strip() in answer.object for word in words)
        assert left is not None
        direction, closed_pod = left.gates[0]
        assert f"closed for that: {direction.value.lower()} of a/{closed_pod.name}" in answer.reason
        assert one.holds(left.rule_set)
        assert one.enforcement.trouble is None
        assert one.session.knowledge is Knowledge.CURRENT
        assert one.counted("objects_refused 1.0")
        # No delta stands on it; what is the same again is tried whole.
        assert await one.delta(3, NOW, WEB_ISOLATED) != Ack(3, digest_of(WEB_ISOLATED))
        nft.dislikes = []
        assert await one.snapshot(4, NOW) == Ack(4, digest_of(NOW))
        assert one.holds(NOW)
        assert one.counted("objects_refused 0.0")


def closed(one: Node, rule_set_: RuleSet, *names: str) -> bool:
    for name in names:
        found = closing(rule_set_, name)
        assert found is not None
        rule_set_ = found.rule_set
    return one.holds(rule_set_)


async def test_several_objects_are_left_out_one_after_the_other() -> None:
    nft = Choosy(("add rule", f" {WEB_8080.name} ", "8080"), ("add chain", OUT.name))
    async with node(nft) as one:
        answer = await one.snapshot(1, NOW)
        assert isinstance(answer, Nack)
        assert answer.reason.endswith("(1 objects more)")
        assert closed(one, NOW, WEB_8080.name, OUT.name)
        assert one.counted("objects_refused 2.0")


@pytest.mark.parametrize("reason", [Rejection.BUSY, Rejection.SHORT])
async def test_a_kernel_that_has_no_time_or_room_for_anything_closes_nobody(reason: Rejection) -> None:
    nft = Choosy(reason=reason)
    async with node(nft) as one:
        await one.snapshot(1, WEB_ISOLATED)
        nft.dislikes = [("add", WEB_8080.name)]
        answer = await one.delta(2, WEB_ISOLATED, WEB_CHANGED)
        assert isinstance(answer, Nack)
        assert answer.generation_in_force == 1
        assert one.holds_untold(WEB_ISOLATED)


@pytest.mark.parametrize(
    "words", [("add element", "ingress4"), ("add chain", " pi-"), ("add table",)], ids=["map", "pod", "table"]
)
async def test_what_no_class_needs_keeps_the_old_generation(words: Sequence[str]) -> None:
    nft = Choosy()
    async with node(nft) as one:
        await one.snapshot(1, WEB_ISOLATED)
        nft.dislikes = [words, ("delete element", "ingress4")]
        answer = await one.delta(2, WEB_ISOLATED, NOW)
        assert isinstance(answer, Nack)
        assert answer.generation_in_force == 1
        assert one.session.in_force is not None
        assert one.session.in_force.rule_set == WEB_ISOLATED


async def test_a_generation_of_which_more_than_a_bound_is_refused_is_refused_whole() -> None:
    classes = [policy_class(Direction.INGRESS, 1000 + number) for number in range(MOST + 1)]
    pods = [pod(f"p{number}", f"10.0.1.{number}", one) for number, one in enumerate(classes)]
    nft = Choosy()
    async with node(nft) as one:
        await one.snapshot(1, WEB_ISOLATED)
        nft.dislikes = [("tcp dport",)]
        answer = await one.snapshot(2, rule_set(pods, classes))
        assert isinstance(answer, Nack)
        assert answer.generation_in_force == 1
        assert one.session.in_force is not None
        assert one.session.in_force.rule_set == WEB_ISOLATED
