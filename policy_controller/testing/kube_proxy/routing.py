"""What kube-proxy decides for one Service port, one family and one node, before it writes any rule.

Knows traffic policies and which endpoints they leave. Knows no packet filter: both modes write down the same decision.
"""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from compilers.model.words import Address, Family, Network, family_of
from policy_controller.testing.kube_proxy.services import Endpoint, ProxiedNode, ServicePort, TrafficPolicy


class Refusal(enum.Enum):
    """What becomes of packets that no endpoint may have.

    Kubernetes, "Virtual IPs and Service Proxies": a Service without endpoints is refused; with policy Local and endpoints only
    elsewhere, "the packet is dropped".
    """

    REJECT = "reject"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Routing:
    """The decision. `everywhere` are all endpoints of the family, `here` those on the node; both are sorted.

    `inside` and `outside` say why traffic to the ClusterIP, and to node ports and external addresses, has no endpoint; None
    when it has one.
    """

    service: ServicePort
    family: Family
    cluster_ip: Address
    external_ips: tuple[Address, ...]
    everywhere: tuple[Endpoint, ...]
    here: tuple[Endpoint, ...]
    inside: Refusal | None
    outside: Refusal | None

    @property
    def is_external(self) -> bool:
        """Whether it can be called by a node port or an external address."""
        return self.service.node_port is not None or bool(self.external_ips)

    @property
    def has_cluster_chain(self) -> bool:
        """Whether some traffic may go to every endpoint.

        With an external policy of Local too: pods and processes of this very node go there as if they had called the ClusterIP.
        """
        return bool(self.everywhere) and (self.service.internal is TrafficPolicy.CLUSTER or self.is_external)

    @property
    def has_local_chain(self) -> bool:
        """Whether some traffic may only go to endpoints of this node."""
        policies = {self.service.internal, self.service.external if self.is_external else None}
        return bool(self.here) and TrafficPolicy.LOCAL in policies

    @property
    def reachable(self) -> tuple[Endpoint, ...]:
        """The endpoints that some chain names."""
        return self.everywhere if self.has_cluster_chain else self.here if self.has_local_chain else ()


def routings(services: Iterable[ServicePort], node: ProxiedNode, family: Family) -> Iterator[Routing]:
    """The decisions for the Services that have a ClusterIP of the family, in a canonical order."""
    for service in sorted(
        services, key=lambda one: (one.namespace, one.name, one.port_name, one.protocol.value)
    ):
        ours = _of_family(service.cluster_ips, family)
        if not ours:
            continue
        everywhere = tuple(
            sorted(
                (one for one in service.endpoints if family_of(one.address) is family),
                key=lambda one: (int(one.address), one.port),
            )
        )
        here = tuple(one for one in everywhere if one.node == node.name)
        yield Routing(
            service=service,
            family=family,
            cluster_ip=ours[0],
            external_ips=_of_family(service.external_ips, family),
            everywhere=everywhere,
            here=here,
            inside=_refusal(service.internal, everywhere, here),
            outside=_refusal(service.external, everywhere, here),
        )


def local_network(node: ProxiedNode, family: Family) -> Network:
    """The node's podCIDR of a family. Raises LookupError."""
    for network in node.pod_networks:
        if family_of(network) is family:
            return network
    raise LookupError(f"node {node.name} has no pod network of IPv{family.value}")


def node_addresses(node: ProxiedNode, family: Family) -> tuple[Address, ...]:
    """The node's addresses of a family."""
    return _of_family(node.addresses, family)


def _refusal(
    policy: TrafficPolicy, everywhere: tuple[Endpoint, ...], here: tuple[Endpoint, ...]
) -> Refusal | None:
    if not everywhere:
        return Refusal.REJECT
    if policy is TrafficPolicy.LOCAL and not here:
        return Refusal.DROP
    return None


def _of_family(addresses: Iterable[Address], family: Family) -> tuple[Address, ...]:
    return tuple(address for address in addresses if family_of(address) is family)
