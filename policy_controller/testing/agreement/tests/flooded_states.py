"""States of a cluster in which the same gates are closed to a flood and the same are open.

In every state the pod `flooder` is denied its UDP packets to `ingress` (by that pod's gate alone), to `egress` and to its
node (by its own), and to `both` (by both); it is allowed those to `open`. Knows how states are
put together. Knows nothing of kernels.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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


def wrong(drawn: State, spared: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """What the evaluator says otherwise than it should be: denied to the closed pods and the node, allowed to the open."""
    flooder = SUBJECTS[0]
    ends = {one.name: one.addresses for one in SUBJECTS[1:]} | {NODE: NODES[0].addresses}
    told = {address for one in drawn.cluster.pods for address in one.addresses}
    lines = []
    for name, addresses in ends.items():
        for source, destination in zip(flooder.addresses, addresses, strict=True):
            if name in spared or (name != NODE and destination not in told):
                continue
            traffic = traffic_between(drawn.cluster, source, destination, Protocol.UDP, PORT)
            decision = judge(drawn.cluster, traffic)
            if decision.verdict is not (Verdict.ALLOWED if name == OPEN else Verdict.DENIED):
                lines.append(str(decision))
    return tuple(lines)
