"""Who a selector stands for: subjects, peer sets and named-port sets, each found once for one cluster state.

Knows labels, membership and port names. Knows nothing of classes or of what a rule admits.
How many elements a set has is known before it is made: a set that nobody has room for costs next to nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_

from compilers.compile.index import LabelIndex, Mask, mask_of, positions
from compilers.model.cluster import Cluster
from compilers.model.policy import NetworkPolicy, SelectorPeer
from compilers.model.selector import EVERYTHING, LabelSelector
from compilers.model.words import Protocol
from compilers.ruleset.names import NameKind, content_name
from compilers.ruleset.parts import PeerSet, PortElement, PortSet

PeerKey = tuple[str, str, str, str]
"""What a selector peer selects: scope, the scope's namespace, namespaceSelector, podSelector."""

ANYWHERE: PeerKey = ("anywhere", "", "", "")
"""Every pod of the cluster, whether or not its namespace is known: an egress rule without `to`."""

PortName = tuple[str, str]
"""Name and protocol of a container's port."""


def peer_key(policy_namespace: str, peer: SelectorPeer) -> PeerKey:
    """The key under which equal selections are one, whichever policy makes them.

    Label syntax has neither commas, parentheses nor equal signs, so a selector's text is unambiguous.
    """
    pods = str(peer.pod_selector or EVERYTHING)
    if peer.namespace_selector is None:
        # API: "Otherwise it selects the pods matching podSelector in the policy's own namespace".
        return ("namespace", policy_namespace, "", pods)
    return ("namespaces", "", str(peer.namespace_selector), pods)


@dataclass(frozen=True, slots=True)
class Picked:
    """Pods by their place: bit i stands for the pod at `start` + i. Those of one namespace take a small mask."""

    start: int
    mask: Mask

    def places(self) -> Iterator[int]:
        """The places, ascending."""
        return (self.start + index for index in positions(self.mask))


@dataclass(frozen=True, slots=True)
class NodePods:
    """A node and the pods that are bound to it."""

    name: str
    places: tuple[int, ...]
    of_namespace: Mapping[str, Mask]
    """Those of one namespace that a policy can isolate, counted from the first pod of that namespace."""


@dataclass(frozen=True, slots=True)
class Members:
    """The pods that a peer set or named-port set is made of; `elements` is how many elements it will have."""

    name: str
    picked: Picked
    elements: int
    port: PortName | None = None
    """What a named-port set is about; None for a peer set."""


class Selection:
    """Members of the selectors of one cluster state; every set is found once, however many rules use it."""

    def __init__(self, cluster: Cluster) -> None:
        gated = (pod for pod in cluster.pods if pod.has_gates)
        self.pods = tuple(sorted(gated, key=lambda pod: pod.namespace))
        """Every pod that can have gates; elsewhere pods are told by their place in here."""
        self.operators = frozenset(place for place, pod in enumerate(self.pods) if cluster.is_operator(pod))
        """The places of the operator's own pods: members of sets like any other, and subjects of no policy."""
        self.addresses = tuple(cluster.addresses_of(pod) for pod in self.pods)
        """The addresses that each of them owns."""
        self._labels = LabelIndex([pod.labels for pod in self.pods])
        counts: dict[int, list[int]] = {}
        for place, owned in enumerate(self.addresses):
            counts.setdefault(len(owned), []).append(place)
        self._with_addresses = {count: self._mask(places) for count, places in counts.items() if count}
        """The pods by how many addresses they have."""
        self._addressed = reduce(or_, self._with_addresses.values(), 0)
        self._namespaces = tuple(cluster.namespaces)
        self._namespace_labels = LabelIndex([one.labels for one in cluster.namespaces.values()])
        self._of_namespace: dict[str, list[int]] = {}
        self._of_node: dict[str, list[int]] = {}
        self._numbers: dict[PortName, dict[int, set[int]]] = {}
        for place, pod in enumerate(self.pods):
            self._of_namespace.setdefault(pod.namespace, []).append(place)
            self._of_node.setdefault(pod.node or "", []).append(place)
            for port in pod.ports:
                numbers = self._numbers.setdefault((port.name, port.protocol_name), {})
                numbers.setdefault(place, set()).add(port.number)
        self._subjects: dict[tuple[str, str], Picked] = {}
        self._selected: dict[PeerKey, Picked] = {}
        self._scopes: dict[Mask, Mask] = {}
        self._in_known = self._in_namespaces(self._namespace_labels.everything)
        self._members: dict[str, Members] = {}
        self._peer_sets: dict[str, PeerSet] = {}

    def on_node(self, node: str) -> NodePods:
        """The pods that are bound to a node."""
        places = tuple(self._of_node.get(node, ()))
        of_namespace: dict[str, Mask] = {}
        for place in places:
            if place in self.operators:
                continue
            namespace = self.pods[place].namespace
            bit = 1 << (place - self._of_namespace[namespace][0])
            of_namespace[namespace] = of_namespace.get(namespace, 0) | bit
        return NodePods(node, places, of_namespace)

    def subjects(self, policy: NetworkPolicy, node: NodePods) -> Picked:
        """The node's pods that a policy selects, whether or not they have an address yet."""
        own = node.of_namespace.get(policy.namespace, 0)
        if not own:
            return Picked(0, 0)
        everywhere = self._selected_by(policy)
        return Picked(everywhere.start, everywhere.mask & own)

    def nodes_of(self, policy: NetworkPolicy) -> tuple[str, ...]:
        """The nodes to which pods are bound that a policy selects and that can have gates, sorted."""
        nodes = (
            self.pods[place].node
            for place in self._selected_by(policy).places()
            if place not in self.operators and self.has_gates(place)
        )
        return tuple(sorted({node for node in nodes if node is not None}))

    def has_gates(self, place: int) -> bool:
        """Whether it is not one whose addresses, of those it reports, all belong to other pods: their gates stand there."""
        return bool(self.addresses[place]) or not self.pods[place].addresses

    def _selected_by(self, policy: NetworkPolicy) -> Picked:
        key = (policy.namespace, policy.name)
        if key not in self._subjects:
            selector = EVERYTHING if policy.subject is None else policy.subject
            self._subjects[key] = self._within(policy.namespace, self._labels.select(selector))
        return self._subjects[key]

    def peers(self, policy_namespace: str, peer: SelectorPeer) -> Members:
        """The peer set of a selector peer."""
        key = peer_key(policy_namespace, peer)
        name = content_name(NameKind.PEER_SET, key)
        if name not in self._members:
            picked = self._select(key, policy_namespace, peer)
            self._members[name] = Members(name, picked, self._addresses_in(picked))
        return self._members[name]

    def peer_ports(
        self, policy_namespace: str, peer: SelectorPeer | None, port: str, protocol: Protocol
    ) -> Members:
        """Where a port name of an egress rule leads: each member of the peer that gives the name a number.

        Without a peer every pod of the cluster is a destination. hostNetwork pods are not: they are their node.
        """
        key = ANYWHERE if peer is None else peer_key(policy_namespace, peer)
        name = content_name(NameKind.PORT_SET, ("peers", *key, port, protocol.value))
        if name not in self._members:
            everyone = Picked(0, self._addressed)
            picked = everyone if peer is None else self._select(key, policy_namespace, peer)
            named = self._named((port, protocol.value), picked)
            self._members[name] = self._counted(name, named, (port, protocol.value))
        return self._members[name]

    def subject_ports(self, policy: NetworkPolicy, node: NodePods, port: str, protocol: Protocol) -> Members:
        """Where a port name of an ingress rule leads: each subject on this node that gives the name a number."""
        subject = "<unreadable>" if policy.subject is None else str(policy.subject)
        # Whose ports, then what a PeerKey says, then the port: as in peer_ports.
        key = ("subjects", "subjects", policy.namespace, "", subject, port, protocol.value)
        subjects = self.subjects(policy, node)
        named = self._named((port, protocol.value), subjects)
        # Every node has another set under this name: it is not remembered.
        return self._counted(content_name(NameKind.PORT_SET, key), named, (port, protocol.value))

    def peer_set(self, members: Members) -> PeerSet:
        """The peer set itself."""
        if members.name not in self._peer_sets:
            addresses = frozenset(
                address for place in members.picked.places() for address in self.addresses[place]
            )
            self._peer_sets[members.name] = PeerSet(members.name, addresses)
        return self._peer_sets[members.name]

    def port_set(self, members: Members) -> PortSet:
        """The named-port set itself."""
        return PortSet(members.name, frozenset(self._elements(members)))

    def _elements(self, members: Members) -> Iterator[PortElement]:
        if members.port is None:
            return
        protocol, numbers = Protocol(members.port[1]), self._numbers.get(members.port, {})
        for place in members.picked.places():
            for number in numbers[place]:
                yield from ((address, protocol, number) for address in self.addresses[place])

    def _named(self, port: PortName, among: Picked) -> Picked:
        """Those that have an address and give the port name a number."""
        carriers = self._mask(self._numbers.get(port, ())) & self._addressed
        return Picked(among.start, among.mask & carriers >> among.start)

    def _counted(self, name: str, named: Picked, port: PortName) -> Members:
        numbers = self._numbers.get(port, {})
        elements = sum(len(self.addresses[place]) * len(numbers[place]) for place in named.places())
        return Members(name, named, elements, port)

    def _select(self, key: PeerKey, policy_namespace: str, peer: SelectorPeer) -> Picked:
        if key not in self._selected:
            pods = self._labels.select(peer.pod_selector or EVERYTHING) & self._addressed
            if peer.namespace_selector is None:
                self._selected[key] = self._within(policy_namespace, pods)
            else:
                self._selected[key] = Picked(0, pods & self._scope(peer.namespace_selector))
        return self._selected[key]

    def _addresses_in(self, picked: Picked) -> int:
        """How many addresses these pods have, without a look at each of them."""
        return sum(
            count * (picked.mask & mask >> picked.start).bit_count()
            for count, mask in self._with_addresses.items()
        )

    def _within(self, namespace: str, mask: Mask) -> Picked:
        """The pods of a mask that are in a namespace; pods of one namespace stand together."""
        places = self._of_namespace.get(namespace)
        if places is None:
            return Picked(0, 0)
        return Picked(places[0], mask >> places[0] & ((1 << len(places)) - 1))

    def _scope(self, selector: LabelSelector) -> Mask:
        """The pods of the namespaces that the selector selects; those of unknown namespaces are in none."""
        chosen = self._namespace_labels.select(selector)
        if chosen not in self._scopes:
            rest = self._namespace_labels.everything & ~chosen
            # Of the two the shorter is counted up: most selectors name one namespace, or all but one.
            if chosen.bit_count() <= rest.bit_count():
                self._scopes[chosen] = self._in_namespaces(chosen)
            else:
                self._scopes[chosen] = self._in_known & ~self._in_namespaces(rest)
        return self._scopes[chosen]

    def _in_namespaces(self, chosen: Mask) -> Mask:
        names = (self._namespaces[index] for index in positions(chosen))
        return self._mask(chain.from_iterable(self._of_namespace.get(name, ()) for name in names))

    def _mask(self, places: Iterable[int]) -> Mask:
        return mask_of(places, len(self.pods))
