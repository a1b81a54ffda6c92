"""Which open connections a rule set denies, and which pods a change may have closed to some.

Knows rule sets, and of a connection what its first packet shows at the gates. Knows nothing of how a kernel remembers one.

The walk over rendered tables (compilers/nftables/trace.py) says the same of every first packet; its tests compare both. It
is not used here because it does not say whose gate it was, and because all sets would be prepared anew at every change.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from compilers.model.settings import ExistingConnections
from compilers.model.words import PROTOCOL_BY_NUMBER, Address, Direction, Family
from compilers.ruleset.parts import BlockSet, ClassRule, PodEntry, PolicyClass, PortSpan
from compilers.ruleset.rule_set import RuleSet


@dataclass(frozen=True, slots=True)
class Flow:
    """A connection as its first packet shows it to the gates: the sender's own address, and that of who really answers.

    `protocol` is the IP protocol's number; ports are 0 where it has none.
    """

    source: Address
    destination: Address
    protocol: int
    source_port: int = 0
    destination_port: int = 0


Test = Callable[[Flow, Address], bool]
"""Whether a rule admits a flow whose end beyond the gate is this address."""


class Denials:
    """What one rule set denies to pods whose open connections are to be cut."""

    def __init__(self, rule_set: RuleSet) -> None:
        self._pods = {address: pod for pod in rule_set.pods.values() for address in pod.addresses}
        self._rule_set = rule_set
        self._classes: dict[str, tuple[Test, ...]] = {}

    def denies(self, flow: Flow) -> bool:
        """Whether a gate of such a pod no longer admits the flow. A pod always reaches itself."""
        source, destination = self._pods.get(flow.source), self._pods.get(flow.destination)
        if source is not None and source is destination:
            return False
        return self._closed(source, Direction.EGRESS, flow) or self._closed(
            destination, Direction.INGRESS, flow
        )

    def _closed(self, pod: PodEntry | None, direction: Direction, flow: Flow) -> bool:
        if pod is None or pod.existing is not ExistingConnections.CUT:
            return False
        name = pod.class_of(direction)
        if name is None:
            return False
        if name not in self._classes:
            self._classes[name] = tuple(_tests(self._rule_set.classes[name], self._rule_set))
        beyond = flow.source if direction is Direction.INGRESS else flow.destination
        return not any(admits(flow, beyond) for admits in self._classes[name])


def perhaps_closed(before: RuleSet | None, now: RuleSet) -> frozenset[Address]:
    """Addresses of pods that are to be cut and may have been closed to some open connection since `before`.

    None is a state of which nothing is known: then all of them.
    """
    cut = [pod for pod in now.pods.values() if pod.existing is ExistingConnections.CUT]
    smaller = _smaller_sets(before, now) if cut and before is not None else None

    def may_be(pod: PodEntry) -> bool:
        if before is None or smaller is None or before.pods.get(pod.uid) != pod:
            return True
        classes = (now.classes[name] for name in (pod.ingress, pod.egress) if name is not None)
        return any(not smaller.isdisjoint(one.set_names) for one in classes)

    return frozenset(address for pod in cut if may_be(pod) for address in pod.addresses)


def _smaller_sets(before: RuleSet, now: RuleSet) -> frozenset[str]:
    """Sets that have lost an element. One that was not there is of a class that was not there either."""
    peers = {
        name
        for name, one in now.peer_sets.items()
        if name in before.peer_sets and not before.peer_sets[name].addresses <= one.addresses
    }
    ports = {
        name
        for name, one in now.port_sets.items()
        if name in before.port_sets and not before.port_sets[name].elements <= one.elements
    }
    return frozenset(peers | ports)


def _tests(policy_class: PolicyClass, rule_set: RuleSet) -> Iterator[Test]:
    for rule in policy_class.rules:
        yield _both(_ports(rule, rule_set), _peer(rule, rule_set))


def _both(ports: Callable[[Flow], bool], peer: Callable[[Address], bool]) -> Test:
    return lambda flow, beyond: ports(flow) and peer(beyond)


def _peer(rule: ClassRule, rule_set: RuleSet) -> Callable[[Address], bool]:
    if rule.peer is None:
        return lambda _: True
    if rule.peer in rule_set.block_sets:
        return _in_block(rule_set.block_sets[rule.peer])
    return rule_set.peer_sets[rule.peer].addresses.__contains__


def _in_block(block: BlockSet) -> Callable[[Address], bool]:
    firsts, family = [first for first, _ in block.ranges], block.family

    def within(address: Address) -> bool:
        if Family(address.version) is not family:
            return False
        index = bisect_right(firsts, int(address)) - 1
        return index >= 0 and int(address) <= block.ranges[index][1]

    return within


def _ports(rule: ClassRule, rule_set: RuleSet) -> Callable[[Flow], bool]:
    match rule.ports:
        case None:
            return lambda _: True
        case PortSpan(protocol, first, last):
            return lambda flow: (
                PROTOCOL_BY_NUMBER.get(flow.protocol) is protocol and first <= flow.destination_port <= last
            )
        case name:
            elements = rule_set.port_sets[name].elements
            return lambda flow: (
                flow.protocol in PROTOCOL_BY_NUMBER
                and (flow.destination, PROTOCOL_BY_NUMBER[flow.protocol], flow.destination_port) in elements
            )
