"""Who a selector stands for: peer sets and named-port sets, each built once for one cluster state.

Knows labels, membership and port names. Knows nothing of classes or of what a rule admits.
"""

from collections.abc import Iterator

from compilers.model.cluster import Cluster, Pod
from compilers.model.policy import NetworkPolicy, SelectorPeer
from compilers.model.port import numbers_of
from compilers.model.selector import EVERYTHING, LabelSelector
from compilers.model.words import Protocol
from compilers.ruleset.names import NameKind, content_name
from compilers.ruleset.parts import PeerSet, PortElement, PortSet

PeerKey = tuple[str, str, str, str]
"""What a selector peer selects: scope, the scope's namespace, namespaceSelector, podSelector."""

ANYWHERE: PeerKey = ("anywhere", "", "", "")
"""Every pod of the cluster, whether or not its namespace is known: an egress rule without `to`."""


def peer_key(policy_namespace: str, peer: SelectorPeer) -> PeerKey:
    """The key under which equal selections are one, whichever policy makes them.

    Label syntax has neither commas, parentheses nor equal signs, so a selector's text is unambiguous.
    """
    pods = str(peer.pod_selector or EVERYTHING)
    if peer.namespace_selector is None:
        # API: "Otherwise it selects the pods matching podSelector in the policy's own namespace".
        return ("namespace", policy_namespace, "", pods)
    return ("namespaces", "", str(peer.namespace_selector), pods)


class Selection:
    """Members of the selectors of one cluster state; every set is computed once, however many rules use it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._members: dict[PeerKey, tuple[Pod, ...]] = {}
        self._pods: dict[str, list[Pod]] = {name: [] for name in cluster.namespaces}
        for pod in cluster.pods:
            if cluster.addresses_of(pod):
                self._pods.setdefault(pod.namespace, []).append(pod)

    def peers(self, policy_namespace: str, peer: SelectorPeer) -> tuple[PeerSet, tuple[Pod, ...]]:
        """The peer set of a selector peer, and the pods in it."""
        members = self._select(policy_namespace, peer)
        name = content_name(NameKind.PEER_SET, peer_key(policy_namespace, peer))
        addresses = frozenset(address for pod in members for address in self._cluster.addresses_of(pod))
        return PeerSet(name, addresses), members

    def peer_ports(
        self, policy_namespace: str, peer: SelectorPeer | None, port: str, protocol: Protocol
    ) -> tuple[PortSet, tuple[Pod, ...]]:
        """Where a port name of an egress rule leads: each member of the peer that gives the name a number.

        Without a peer every pod of the cluster is a destination. hostNetwork pods are not: they are their node.
        """
        if peer is None:
            key, members = ANYWHERE, tuple(pod for pods in self._pods.values() for pod in pods)
        else:
            key, members = peer_key(policy_namespace, peer), self._select(policy_namespace, peer)
        return self._ports("peers", key, members, port, protocol)

    def subject_ports(
        self, policy: NetworkPolicy, node: str, port: str, protocol: Protocol
    ) -> tuple[PortSet, tuple[Pod, ...]]:
        """Where a port name of an ingress rule leads: each subject on this node that gives the name a number."""
        members = tuple(
            pod
            for pod in self._pods.get(policy.namespace, ())
            if pod.node == node and policy.selects(pod.namespace, pod.labels)
        )
        key = (
            "subjects",
            policy.namespace,
            "",
            "<unreadable>" if policy.subject is None else str(policy.subject),
        )
        return self._ports("subjects", key, members, port, protocol)

    def _ports(
        self, side: str, key: PeerKey, members: tuple[Pod, ...], port: str, protocol: Protocol
    ) -> tuple[PortSet, tuple[Pod, ...]]:
        elements: set[PortElement] = set()
        named: list[Pod] = []
        for pod in members:
            numbers = numbers_of(port, protocol, pod.ports)
            if numbers:
                named.append(pod)
            elements.update(
                (address, protocol, number)
                for address in self._cluster.addresses_of(pod)
                for number in numbers
            )
        name = content_name(NameKind.PORT_SET, (side, *key, port, protocol.value))
        return PortSet(name, frozenset(elements)), tuple(named)

    def _select(self, policy_namespace: str, peer: SelectorPeer) -> tuple[Pod, ...]:
        key = peer_key(policy_namespace, peer)
        if key not in self._members:
            selector = peer.pod_selector or EVERYTHING
            self._members[key] = tuple(
                pod
                for namespace in self._namespaces(policy_namespace, peer.namespace_selector)
                for pod in self._pods.get(namespace, ())
                if selector.matches(pod.labels)
            )
        return self._members[key]

    def _namespaces(self, policy_namespace: str, selector: LabelSelector | None) -> Iterator[str]:
        if selector is None:
            yield policy_namespace
            return
        for name, namespace in self._cluster.namespaces.items():
            if selector.matches(namespace.labels):
                yield name
