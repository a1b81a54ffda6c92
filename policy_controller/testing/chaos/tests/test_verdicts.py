"""What the evaluator says of every pair in every state, also of pods that left and still run."""

from dataclasses import replace
from ipaddress import ip_address
from random import Random

from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import traffic_between
from compilers.model.cluster import Cluster, Namespace, Phase, Pod
from compilers.model.policy import NetworkPolicy, PolicyRule, SelectorPeer, Side
from compilers.model.selector import LabelSelector
from compilers.model.words import Direction
from policy_controller.testing.chaos.judge import Expected
from policy_controller.testing.chaos.verdicts import EXPECTED, SERVICES, Gates, Resident, Verdicts
from policy_controller.testing.generators import random_cluster

ALLOWED, DENIED, EITHER = Expected
SHOP = Namespace("shop", {}, "uid-shop")


def pod(number: int, host: int, app: str) -> Pod:
    addresses = (ip_address(f"10.244.1.{host}"), ip_address(f"fd10:244:1::{host:x}"))
    return Pod("shop", f"pod-{number}", f"uid-{number}", {"app": app}, "node-a", addresses)


def resident(of: Pod) -> Resident:
    number = int(of.name.removeprefix("pod-"))
    return Resident(number, of.namespace, of.name, of.uid, of.node or "", (of.addresses[0], of.addresses[1]))


def admitting(app: str | None) -> NetworkPolicy:
    """Pods of app db admit one app, or nobody."""
    peers = (SelectorPeer(LabelSelector((("app", app or "nobody"),)), None),)
    side = Side((PolicyRule(peers, None),))
    return NetworkPolicy("shop", "db", "uid", LabelSelector((("app", "db"),)), {Direction.INGRESS: side})


WEB, DB, OTHER = pod(1, 11, "web"), pod(2, 12, "db"), pod(3, 12, "db")
ALL = [resident(one) for one in (WEB, DB, OTHER)]
INTO_DB, INTO_OTHER, OUT_OF_DB = (1, 2, 0, 0), (1, 3, 1, 4), (2, 1, 0, 0)


def state(*pods: Pod, app: str | None = None) -> Cluster:
    return Cluster.of([SHOP], pods, [admitting(app)])


def test_a_change_of_policy_or_labels_is_seen_from_the_state_on_that_has_it() -> None:
    relabelled = replace(WEB, labels={"app": "api"})
    states = [
        state(WEB, DB),
        state(WEB, DB, app="web"),
        state(relabelled, DB, app="web"),
        state(WEB, DB, app="web"),
    ]

    verdicts = Verdicts(states, ALL)

    assert verdicts.of(INTO_DB) == [DENIED, ALLOWED, DENIED, ALLOWED]
    assert verdicts.of(OUT_OF_DB) == [ALLOWED] * 4


def test_nobody_can_say_what_becomes_of_a_pod_that_is_not_there_yet() -> None:
    assert Verdicts([state(WEB), state(WEB, DB)], ALL).of(INTO_DB) == [EITHER, DENIED]


def test_of_a_pod_that_left_what_was_denied_and_still_would_be_stays_denied() -> None:
    states = [state(WEB, DB), state(WEB), state(WEB, app="web"), state(WEB)]

    assert Verdicts(states, ALL).of(INTO_DB) == [DENIED, DENIED, EITHER, EITHER]


def test_of_a_pod_that_left_nobody_can_say_what_was_allowed() -> None:
    states = [state(WEB, DB, app="web"), state(WEB, app="web"), state(WEB)]

    assert Verdicts(states, ALL).of(INTO_DB) == [ALLOWED, EITHER, EITHER]


def test_a_pod_that_has_ended_is_as_one_that_left() -> None:
    ended = replace(DB, phase=Phase.SUCCEEDED)

    assert Verdicts([state(WEB, DB), state(WEB, ended)], ALL).of(INTO_DB) == [DENIED, DENIED]


def test_an_address_is_its_next_owners_alone() -> None:
    states = [state(WEB, DB), state(WEB), state(WEB, OTHER, app="web")]

    verdicts = Verdicts(states, ALL)

    assert verdicts.of(INTO_DB) == [DENIED, DENIED, EITHER]
    assert verdicts.of(INTO_OTHER) == [EITHER, EITHER, ALLOWED]


def test_what_is_remembered_from_state_to_state_is_what_the_judge_says_of_each() -> None:
    rng = Random(5)  # noqa: S311 - repeating is the purpose
    first = random_cluster(rng)
    members = [one for one in set(first.owners.values()) if len(one.addresses) == 2]
    residents = [
        Resident(
            number, one.namespace, one.name, one.uid, one.node or "", (one.addresses[0], one.addresses[1])
        )
        for number, one in enumerate(sorted(members, key=lambda one: one.uid))
    ]
    states = [replace(first, policies=random_cluster(rng).policies) for _ in range(12)]
    verdicts, seen = Verdicts(states, residents), set()

    for source in residents:
        for destination in residents:
            for service, asked in enumerate(SERVICES):
                question = (source.number, destination.number, 0, service)
                ends = (source.addresses[0], destination.addresses[0])
                said = verdicts.of(question)
                for cluster, expected in zip(states, said, strict=True):
                    if not all(end in cluster.owners for end in ends):
                        continue
                    traffic = traffic_between(cluster, *ends, asked.protocol, asked.port)
                    assert judge(cluster, traffic).verdict.value == expected.value
                    seen.add(expected)
    assert {ALLOWED, DENIED} <= seen


def test_every_word_of_gates_is_expected_somehow() -> None:
    assert EXPECTED[Gates.NONE] is ALLOWED
    assert EXPECTED[None] is EITHER
    assert all(EXPECTED[Gates(number)] is DENIED for number in range(1, 4))
