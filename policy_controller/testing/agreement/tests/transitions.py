"""Changes under which some gates stay closed and some stay open, one table of cluster states each.

In every state the pod `flooder` is denied its UDP packets to `ingress` (by that pod's gate alone), to `egress` and to its
node (by its own), and to `both` (by both); it is allowed those to `open`. Knows the ways in which states differ.
Knows nothing of kernels.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from compilers.compile.compiler import compile_nodes
from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.evaluate.tests.stage import (
    HTTP,
    NODES,
    block,
    cluster,
    labels,
    pod,
    pods,
    policy,
    rule,
    spaces,
)
from compilers.evaluate.traffic import traffic_between
from compilers.model.cluster import Cluster, Pod
from compilers.model.policy import NetworkPolicy, PolicyRule
from compilers.model.port import NamedPort
from compilers.model.words import Direction, Protocol
from compilers.nftables.base import Base
from compilers.nftables.render import Tables, render
from compilers.ruleset.rule_set import RuleSet

NODE: Final = "node-a"
FLOODER, INGRESS, EGRESS, BOTH, OPEN = "flooder", "ingress", "egress", "both", "open"
"""Pods; all but the first by the gate that is closed to the flood."""
PORT: Final = 9
NEITHER: Final[frozenset[Direction]] = frozenset()

SUBJECTS: Final = (
    pod("shop/flooder", {"app": "flooder"}, NODE, 11),
    pod("shop/ingress", {"app": "ingress", "ingress": "closed"}, NODE, 12, [HTTP]),
    pod("shop/egress", {"app": "egress"}, NODE, 13, [HTTP]),
    pod("shop/both", {"app": "both", "ingress": "closed"}, NODE, 14),
    pod("shop/open", {"app": "open"}, NODE, 15),
)
OTHERS: Final = tuple(
    pod(f"shop/other-{number}", {"app": "other", "number": str(number)}, node, 20 + number, [HTTP])
    for number in range(6)
    for node in (NODE if number % 2 else "node-b",)
)
FRIENDS: Final = tuple(
    pod(f"ops/friend-{number}", {"app": "friend"}, node, 30 + number)
    for number in range(6)
    for node in (NODE if number % 2 else "node-b",)
)
Rules = tuple[PolicyRule, ...]


def many(count: int) -> Rules:
    """So many rules, none of which admits the flood; a third each by port, by range and by peer."""
    kinds = (
        lambda number: rule(None, [f"TCP {1000 + number}"]),
        lambda number: rule([pods("app=other")], [f"UDP {2000 + 10 * number}-{2005 + 10 * number}"]),
        lambda number: rule([pods(f"number={number}")]),
    )
    return tuple(kinds[number % 3](number) for number in range(count))


INGRESS_RULES: Final[Mapping[str, Rules]] = {
    "nothing": (),
    "friends": (rule([spaces("team=ops", "app=friend")]),),
    "another protocol": (rule(None, ["TCP 9", "SCTP"]),),
    "another port of the flooder": (rule([pods("app=flooder")], ["UDP 53"]),),
    "other ports": (rule(None, ["UDP 10-65535", "UDP 1-8"]),),
    "a named port": (rule(None, ["TCP http"]),),
    "a block beside": (rule([block("10.244.0.0/16", "10.244.1.0/28"), block("fd10:244:2::/64")]),),
    "a smaller block": (rule([block("10.244.2.0/24"), block("fd10:244::/32", "fd10:244:1::/64")]),),
    "five rules": many(5),
    "six rules": many(6),
    "forty rules": many(40),
}
EGRESS_RULES: Final[Mapping[str, Rules]] = {
    "nothing": (),
    "friends": (rule([spaces("team=ops", "app=friend")]),),
    "another port": (rule(None, ["UDP 53", "TCP"]),),
    "a named port": (rule([pods("app=egress"), pods("app=both")], ["TCP http"]),),
    "a block beside": (rule([block("10.244.0.0/16", "10.244.1.13/32", "10.244.1.14/32")]),),
    "another block": (rule([block("203.0.113.0/24"), block("2001:db8::/32")]),),
    "forty rules": many(40),
}
"""Beside the rule that admits what the flooder is allowed."""
TO_OPEN: Final = (rule([pods("app=ingress"), pods("app=open")]),)
FROM_FLOODER: Final = rule([pods("app=flooder")], ["UDP 9"])


def gates(ingress: Rules, egress: Rules, track: str = "") -> tuple[NetworkPolicy, ...]:
    """The policies of the subjects, with these rules beside those that every state has.

    With a track they have other names and select only the subjects of that track.
    """
    suffix, label = (f"-{track}", f",track={track}") if track else ("", "")
    return (
        policy(f"shop/flooder{suffix}", labels(f"app=flooder{label}"), egress=[*TO_OPEN, *egress]),
        policy(f"shop/closed{suffix}", labels(f"ingress=closed{label}"), ingress=ingress),
        policy(f"shop/open{suffix}", labels(f"app=open{label}"), ingress=[FROM_FLOODER, *ingress]),
    )


@dataclass(frozen=True, slots=True)
class State:
    """A cluster state, and the directions in which its node drops unknown addresses."""

    cluster: Cluster
    closed: frozenset[Direction] = NEITHER

    @property
    def rule_set(self) -> RuleSet:
        """What the node is told."""
        return compile_nodes(self.cluster)[NODE]

    def tables(self, base: Base) -> Tables:
        """What the node's kernel should hold."""
        return render(self.rule_set, base, self.closed)


def state(
    policies: Iterable[NetworkPolicy],
    beside: Iterable[Pod] = (),
    subjects: Iterable[Pod] = SUBJECTS,
    closed: frozenset[Direction] = NEITHER,
) -> State:
    """The subjects and some pods beside them."""
    return State(cluster(*policies, pods=(*subjects, *beside)), closed)


def labelled(**added: str) -> tuple[Pod, ...]:
    """The subjects with more labels."""
    return tuple(replace(one, labels={**one.labels, **added}) for one in SUBJECTS)


def born_again(life: int) -> tuple[Pod, ...]:
    """Other pods with the names and addresses of the subjects."""
    return tuple(replace(one, uid=f"{one.uid}-{life}") for one in SUBJECTS)


def of(ingress: str, egress: str, track: str = "") -> tuple[NetworkPolicy, ...]:
    """The policies with rules by name."""
    return gates(INGRESS_RULES[ingress], EGRESS_RULES[egress], track)


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


TRANSITIONS: Final[Mapping[str, Callable[[], Iterator[State]]]] = {
    "policies are edited": edited,
    "pods move between classes": moved,
    "peers come and go": members,
    "peers come and go beside the flooder": member_by_another_port,
    "a peer joins as its rule narrows": narrowed,
    "pods come and go": neighbours,
    "other pods are isolated and released": first_isolated,
    "everything is replaced": replaced,
    "block sets change": blocks,
    "named ports change": named_ports,
    "addresses become known": addresses_told,
    "slots for unknown addresses open and close": slots,
    "addresses get other owners": owners,
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


def wrong(drawn: State) -> tuple[str, ...]:
    """What the evaluator says otherwise than it should be: denied to the closed pods and the node, allowed to the open."""
    flooder = SUBJECTS[0]
    ends = {one.name: one.addresses for one in SUBJECTS[1:]} | {NODE: NODES[0].addresses}
    told = {address for one in drawn.cluster.pods for address in one.addresses}
    lines = []
    for name, addresses in ends.items():
        for source, destination in zip(flooder.addresses, addresses, strict=True):
            if name != NODE and destination not in told:
                continue
            traffic = traffic_between(drawn.cluster, source, destination, Protocol.UDP, PORT)
            decision = judge(drawn.cluster, traffic)
            if decision.verdict is not (Verdict.ALLOWED if name == OPEN else Verdict.DENIED):
                lines.append(str(decision))
    return tuple(lines)
