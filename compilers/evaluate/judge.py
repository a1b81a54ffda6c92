"""The judge: whether a connection may be made, and why.

Knows the two gates and how policies, rules, peers and ports combine. Knows nothing of nodes' tables. What a packet
filter must let pass beneath a policy (replies, neighbour discovery) is no first packet of a connection and never
comes here; addresses that are only valid on a link (fe80::/10) are no end of a policy either.
"""

from compilers.evaluate.decision import Attempt, Decision, GateDecision, Outcome, RuleRef
from compilers.evaluate.ends import End, NodeEnd, PodEnd, end_at
from compilers.evaluate.isolation import isolating
from compilers.evaluate.misses import Miss, NoRule, Unreadable
from compilers.evaluate.peers import peer_misses
from compilers.evaluate.ports import port_miss
from compilers.evaluate.traffic import Traffic
from compilers.model.cluster import Cluster
from compilers.model.faults import FieldPath, InvalidField
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule
from compilers.model.settings import Enforcement
from compilers.model.words import Direction


def judge(cluster: Cluster, traffic: Traffic) -> Decision:
    """The verdict on the traffic in this cluster state, with every reason.

    Raises InvalidField when an end of the traffic is not who answers to that address in this cluster state.
    """
    for name, end in (("source", traffic.source), ("destination", traffic.destination)):
        if end_at(cluster, end.address) != end:
            raise InvalidField(f"{end.address} is not {end} in this state of the cluster", (name,))
    return Decision(
        traffic,
        egress=_gate(cluster, traffic, Direction.EGRESS),
        ingress=_gate(cluster, traffic, Direction.INGRESS),
    )


def _gate(cluster: Cluster, traffic: Traffic, direction: Direction) -> GateDecision:
    ends = (traffic.source, traffic.destination)
    subject, other = ends if direction is Direction.EGRESS else ends[::-1]
    if not isinstance(subject, PodEnd):
        return GateDecision(direction, Outcome.NOT_A_POD)
    if cluster.settings.enforcement is Enforcement.OFF:
        return GateDecision(direction, Outcome.OFF, subject)
    if isinstance(other, PodEnd) and other.pod == subject.pod:
        # Kubernetes, "Network Policies": "a pod cannot block access to itself".
        return GateDecision(direction, Outcome.SELF, subject)
    if direction is Direction.INGRESS and isinstance(other, NodeEnd) and other.name == subject.pod.node:
        # API, ingress: "Traffic is allowed to a pod [...] if the traffic source is the pod's local node". From the node
        # only: what a pod sends to its node is judged by its egress policies.
        return GateDecision(direction, Outcome.OWN_NODE, subject)
    if cluster.is_operator(subject.pod):
        return GateDecision(direction, Outcome.OPERATOR, subject)
    policies = isolating(cluster, subject.pod, direction)
    if not policies:
        return GateDecision(direction, Outcome.NOT_ISOLATED, subject)
    return _isolated(cluster, traffic, direction, subject, other, policies)


def _isolated(
    cluster: Cluster,
    traffic: Traffic,
    direction: Direction,
    subject: PodEnd,
    other: End,
    policies: tuple[NetworkPolicy, ...],
) -> GateDecision:
    """What the policies admit, one after the other.

    Kubernetes, "Network Policies": "Network policies do not conflict; they are additive. [...] the connections allowed
    in that direction from that pod is the union of what the applicable policies allow."
    """
    refs = tuple(policy.ref for policy in policies)
    attempts: list[Attempt] = []
    for policy in policies:
        side = policy.sides[direction]
        if not side.rules:
            attempts.append(_side_attempt(policy, direction))
        for index, rule in enumerate(side.rules):
            ref = RuleRef.of(policy.ref, direction, index)
            path: FieldPath = ("spec", direction.field, index)
            position = policy.position_of(path)
            peers, ports = _rule(cluster, policy, rule, traffic, direction, other, path)
            if not peers and not ports:
                return GateDecision(
                    direction, Outcome.ADMITTED, subject, refs, ref, position, tuple(attempts)
                )
            attempts.append(Attempt(policy.ref, ref, position, peers, ports))
    return GateDecision(direction, Outcome.NOT_ADMITTED, subject, refs, attempts=tuple(attempts))


def _side_attempt(policy: NetworkPolicy, direction: Direction) -> Attempt:
    side = policy.sides[direction]
    path: FieldPath = ("spec", direction.field)
    misses: tuple[Miss, ...] = tuple(Unreadable(fault.path, fault) for fault in side.faults)
    if not misses:
        # API, ingress: "If this field is empty then this NetworkPolicy does not allow any traffic (and serves solely
        # to ensure that the pods it selects are isolated by default)."
        misses = (NoRule(path, direction),)
    return Attempt(policy.ref, None, policy.position_of(path), side=misses)


def _rule(
    cluster: Cluster,
    policy: NetworkPolicy,
    rule: PolicyRule,
    traffic: Traffic,
    direction: Direction,
    other: End,
    path: FieldPath,
) -> tuple[tuple[tuple[Miss, ...], ...], tuple[Miss, ...]]:
    """Which conditions fail: for each peer, and for each port; both empty when the rule admits the traffic.

    API: "The traffic must match both ports and from" (to).
    """
    reached: list[Peer | None] = []
    missed: list[tuple[Miss, ...]] = []
    if not rule.peers:
        # API, from: "If this field is empty or missing, this rule matches all sources (traffic not restricted by
        # source)"; the same for `to`. Sources outside the cluster too.
        reached.append(None)
    for index, peer in enumerate(rule.peers or ()):
        # API, from and to: "Items in this list are combined using a logical OR operation."
        misses = peer_misses(cluster, policy, peer, other, (*path, direction.peer_field, index))
        if misses:
            missed.append(misses)
        else:
            reached.append(peer)
    if not reached:
        return tuple(missed), _ports(rule, traffic, direction, None, path)
    return (), min((_ports(rule, traffic, direction, peer, path) for peer in reached), key=len)


def _ports(
    rule: PolicyRule, traffic: Traffic, direction: Direction, peer: Peer | None, path: FieldPath
) -> tuple[Miss, ...]:
    if not rule.ports:
        # API: "If this field is empty or missing, this rule matches all ports (traffic not restricted by port)":
        # and all protocols, those without ports included.
        return ()
    misses: list[Miss] = []
    for index, port in enumerate(rule.ports):
        miss = port_miss(port, traffic, direction, peer, (*path, "ports", index))
        if miss is None:
            # API, ports: "Each item in this list is combined using a logical OR."
            return ()
        misses.append(miss)
    return tuple(misses)
