"""Changes under which some gates stay closed and some stay open, as the cluster states that follow each other.

Knows what a change does to the planner's sets, maps and chains. Knows nothing of kernels.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from compilers.evaluate.tests.stage import block, labels, pod, pods, policy, rule
from compilers.model.policy import Peer
from compilers.model.port import NamedPort
from compilers.model.words import Direction
from policy_controller.testing.agreement.tests.flooded_states import (
    BOTH,
    EGRESS,
    EGRESS_RULES,
    FLOODER,
    FRIENDS,
    INGRESS,
    INGRESS_RULES,
    NEITHER,
    NODE,
    OTHERS,
    PORT,
    SUBJECTS,
    State,
    born_again,
    gates,
    labelled,
    many,
    of,
    state,
    wrong,
)


def edited() -> Iterator[State]:
    """Every form of rules becomes the next one; classes are deleted and made again."""
    egress = itertools.cycle(EGRESS_RULES)
    return (state(of(ingress, next(egress)), (*OTHERS, *FRIENDS)) for ingress in INGRESS_RULES)


def moved() -> Iterator[State]:
    """Pods get another label, so that other policies select them; the policies stay."""
    policies = (*of("friends", "friends", "left"), *of("forty rules", "another port", "right"))
    return (state(policies, FRIENDS, labelled(track=track)) for track in ("left", "right"))


def members() -> Iterator[State]:
    """Pods come and go in the peer sets that the gates look into; the flooder is never one of them."""
    return (state(of("friends", "friends"), FRIENDS[:count]) for count in (0, 6, 1, 5, 0, 3))


def member_by_another_port() -> Iterator[State]:
    """The same while the flooder is a member throughout, and denied by its port."""
    ingress = (rule([pods("app=other"), pods("app=flooder")], ["UDP 53", "TCP"]),)
    egress = (rule([pods("app=other"), pods("app=egress"), pods("app=both")], ["UDP 53", "TCP"]),)
    return (state(gates(ingress, egress), OTHERS[:count]) for count in (0, 6, 1, 5))


def narrowed() -> Iterator[State]:
    """The flooder joins a peer set in the change that narrows the set's rule to another protocol, and leaves again."""
    for ports, friend in ((None, "no"), (["TCP 80"], "yes")):
        rules = (rule([pods("friend=yes")], ports),)
        yield state(gates(rules, rules), (), labelled(friend=friend))


def neighbours() -> Iterator[State]:
    """Other pods of the node, isolated by the same policies or by their own, come and go."""
    own = policy("shop/others", labels("app=other"), ingress=[rule([pods("app=other")])], egress=())
    shared = tuple(replace(one, labels={**one.labels, "ingress": "closed"}) for one in OTHERS[:4])
    for beside in ((), OTHERS, OTHERS[::2], (*shared, *FRIENDS), OTHERS[3:]):
        yield state((*of("friends", "nothing"), own), beside)


def first_isolated() -> Iterator[State]:
    """Other pods are isolated for the first time, and no more; the classes of that are deleted and made again."""
    ops = policy("ops/all", ingress=[rule([pods("app=friend")])])
    others = policy("shop/others", labels("app=other"), ingress=(), egress=many(6))
    for more in ((), (ops,), (ops, others), (others,)):
        yield state((*of("nothing", "nothing"), *more), (*OTHERS, *FRIENDS))


def replaced() -> Iterator[State]:
    """Everything changes at once: policies, classes, sets, pods, labels and owners of addresses."""
    for life, (ingress, egress, count) in enumerate(
        (
            ("forty rules", "a named port", 1),
            ("friends", "a block beside", 5),
            ("other ports", "forty rules", 3),
        )
    ):
        beside = policy(f"shop/others-{life}", labels("app=other"), ingress=many(life), egress=many(6 * life))
        pods_beside = (*OTHERS[life : life + count], *FRIENDS[: 6 - count])
        yield state((*of(ingress, egress), beside), pods_beside, born_again(life))


def blocks() -> Iterator[State]:
    """Ranges of the block sets grow, shrink and split; none holds an end of the flood."""
    for cidr, hole in (
        ("10.244.0.0/16", "10.244.1.0/28"),
        ("10.0.0.0/8", "10.244.1.0/24"),
        ("10.244.2.0/24", None),
    ):
        peers = [block(cidr, *([hole] if hole else [])), block("203.0.113.0/24")]
        yield state(gates((rule(peers),), (rule([*peers[1:], block("10.244.1.128/25")]),)), OTHERS)


def named_ports() -> Iterator[State]:
    """Pods give their port's name to other numbers, also to the flood's by another protocol."""
    rules = (
        rule([pods("app=egress"), pods("app=both"), pods("app=other"), pods("app=flooder")], ["TCP http"]),
    )
    for number in (80, PORT, 8080):
        ports = (NamedPort("http", "TCP", number), NamedPort("dns", "UDP", 53))
        subjects = tuple(replace(one, ports=ports) for one in SUBJECTS)
        yield state(gates(rules, rules), OTHERS[: number % 5], subjects)


def addresses_told() -> Iterator[State]:
    """The closed pods' addresses become known, and unknown again: gates take over from the slot for unknown addresses."""
    admitted = (
        rule(
            [
                block(cidr)
                for one in SUBJECTS
                if one.name in (INGRESS, BOTH)
                for cidr in map(str, one.addresses)
            ]
        ),
    )
    policies = gates((), admitted)[1:]
    # By address, since a selector would not admit what nobody knows. The node stays closed to the flooder, and the egress pod by a gate of its own.
    flooder = policy("shop/flooder", labels("app=flooder"), egress=[rule([pods("app=open")]), *admitted])
    for told in (False, True):
        subjects = tuple(
            replace(one, addresses=one.addresses if told or one.name not in (INGRESS, BOTH) else ())
            for one in SUBJECTS
        )
        closed = NEITHER if told else frozenset({Direction.INGRESS})
        yield state((flooder, *policies), FRIENDS, subjects, closed)


def slots() -> Iterator[State]:
    """Directions close and open for unknown addresses, as at an enforcer's start and after its first snapshot."""
    for closed in ((), tuple(Direction), (Direction.INGRESS,), (Direction.EGRESS,)):
        yield state(of("friends", "friends"), FRIENDS, closed=frozenset(closed))


def owners() -> Iterator[State]:
    """The addresses get other pods, whose gates are as closed."""
    return (state(of("friends", "nothing"), FRIENDS, born_again(life)) for life in range(3))


def peer_for_port() -> Iterator[State]:
    """The flooder joins the peers of a rule as the rule's named port ceases to be the flood's, and the reverse."""
    rules = (rule([pods("friend=yes")], ["UDP named"]),)
    for number, friend in ((PORT, "no"), (PORT + 1, "yes")):
        subjects = tuple(
            replace(one, ports=(NamedPort("named", "UDP", number),)) for one in labelled(friend=friend)
        )
        yield state(gates(rules, ()), OTHERS, subjects)


def one_end_for_the_other() -> Iterator[State]:
    """The gates of the destinations open as that of the flooder closes, and the reverse: elements of maps alone."""
    others = policy("shop/others", labels("app=other"), ingress=(), egress=())
    out = policy("shop/flooder", labels("app=flooder"), egress=[rule([pods("app=open")])])
    closed = tuple(
        policy(f"shop/{name}", labels(f"app={name}"), ingress=()) for name in (INGRESS, EGRESS, BOTH)
    )
    return (state((others, *policies), OTHERS) for policies in ((out,), closed))


def arrival() -> Iterator[State]:
    """The flooder becomes known: a peer of the destinations' gates, and isolated itself."""
    flooder = SUBJECTS[0]
    peers: list[Peer] = [pods("app=flooder"), *(block(f"{address}") for address in flooder.addresses)]
    policies = (
        policy("shop/flooder", labels("app=flooder"), egress=[rule([pods("app=open")])]),
        *(
            policy(f"shop/{name}", labels(f"app={name}"), ingress=[rule(peers[:1])])
            for name in (INGRESS, EGRESS, BOTH)
        ),
        policy("shop/open", labels("app=open"), ingress=[rule(peers)]),
    )
    return (state(policies, OTHERS, subjects) for subjects in (SUBJECTS[1:], SUBJECTS))


def moved_as_a_peer_joins() -> Iterator[State]:
    """A pod gets another of two classes that stay, and the flooder joins the peers that the first one admits."""
    anybody = policy("shop/left", labels("track=left"), ingress=[*many(40), rule([pods("friend=yes")])])
    nobody = policy("shop/right", labels("track=right"), ingress=[rule([pods("friend=yes")], ["TCP 80"])])
    beside = (
        pod("shop/left", {"track": "left"}, NODE, 101),
        pod("shop/right", {"track": "right"}, NODE, 102),
    )
    for track, friend in (("left", "no"), ("right", "yes")):
        tracked = {"track": track}
        added = {FLOODER: {"friend": friend}, INGRESS: tracked, BOTH: tracked}
        subjects = tuple(replace(one, labels={**one.labels, **added.get(one.name, {})}) for one in SUBJECTS)
        yield state((*of("nothing", "nothing")[::2], anybody, nobody), beside, subjects)


@dataclass(frozen=True, slots=True)
class Transition:
    """States that follow each other, and those the flooder is allowed to reach in some of them."""

    states: Callable[[], Iterator[State]]
    spared: frozenset[str] = frozenset()


TRANSITIONS: Final[Mapping[str, Transition]] = {
    "policies are edited": Transition(edited),
    "pods move between classes": Transition(moved),
    "peers come and go": Transition(members),
    "peers come and go beside the flooder": Transition(member_by_another_port),
    "a peer joins as its rule narrows": Transition(narrowed),
    "a peer joins as pods move between classes": Transition(moved_as_a_peer_joins),
    "a peer joins as a port leaves": Transition(peer_for_port),
    "one end's gate closes as the other's opens": Transition(one_end_for_the_other, frozenset({NODE})),
    "the flooder becomes known": Transition(arrival, frozenset({NODE})),
    "pods come and go": Transition(neighbours),
    "other pods are isolated and released": Transition(first_isolated),
    "everything is replaced": Transition(replaced),
    "block sets change": Transition(blocks),
    "named ports change": Transition(named_ports),
    "addresses become known": Transition(addresses_told),
    "slots for unknown addresses open and close": Transition(slots),
    "addresses get other owners": Transition(owners),
}


def by_chance(rng: Random, count: int) -> Iterator[State]:
    """So many states with nothing in common but what must hold in all."""
    while count:
        tracks = [
            (rng.choice([*INGRESS_RULES]), rng.choice([*EGRESS_RULES]), track) for track in ("left", "right")
        ]
        subjects = tuple(
            replace(
                one,
                uid=f"{one.uid}-{rng.randrange(2)}",
                labels={
                    **one.labels,
                    "track": rng.choice(("left", "right")),
                    "number": str(rng.randrange(6)),
                },
            )
            for one in SUBJECTS
        )
        beside = rng.sample((*OTHERS, *FRIENDS), rng.randrange(13))
        closed = frozenset(direction for direction in Direction if rng.random() < 0.3)
        drawn = state((one for track in tracks for one in of(*track)), beside, subjects, closed)
        if not wrong(drawn):
            count -= 1
            yield drawn
