"""Services as kube-proxy sees them: one port of a Service at a time, its endpoints, and the node it works for.

Knows what the API allows in these fields. Knows no rule of any packet filter.
"""

import enum
import re
from dataclasses import dataclass
from typing import Final

from compilers.model.words import Address, Network, Protocol

LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123: what names of namespaces, Services and their ports look like. Nothing else becomes part of a rule."""
LAST_PORT: Final = 65535


class InvalidService(ValueError):  # noqa: N818 - the sentence it says: this Service is invalid
    """A value that no Service can have; the text names the field."""


class TrafficPolicy(enum.Enum):
    """Which endpoints may be chosen: all, or those on the node that rewrites the packet. The API's spelling."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One ready address of an EndpointSlice; `node` None is an address that is on no node."""

    address: Address
    port: int
    node: str | None = None

    def __post_init__(self) -> None:
        _check_port(self.port, "endpoint port")


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service.

    `cluster_ips` has at most one address of each family; without any the Service is headless and kube-proxy does nothing.
    `external_ips` are spec.externalIPs and the addresses of a load balancer: kube-proxy treats both alike. An endpoint has a
    port of its own, because a named targetPort may be another number in each pod. `affinity_seconds` is the timeout of
    sessionAffinity ClientIP; None is sessionAffinity None. Raises InvalidService.
    """

    namespace: str
    name: str
    protocol: Protocol
    port: int
    cluster_ips: tuple[Address, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    port_name: str = ""
    node_port: int | None = None
    external_ips: tuple[Address, ...] = ()
    external: TrafficPolicy = TrafficPolicy.CLUSTER
    internal: TrafficPolicy = TrafficPolicy.CLUSTER
    affinity_seconds: int | None = None

    def __post_init__(self) -> None:
        for field, name in (("namespace", self.namespace), ("name", self.name)):
            _check_label(name, field)
        if self.port_name:
            _check_label(self.port_name, "port name")
        _check_port(self.port, "port")
        if self.node_port is not None:
            _check_port(self.node_port, "nodePort")
        versions = [address.version for address in self.cluster_ips]
        if len(versions) != len(set(versions)):
            raise InvalidService("clusterIPs: two addresses of one family")
        if not versions and (self.node_port is not None or self.external_ips):
            raise InvalidService("a headless Service has neither a node port nor external addresses")
        if self.affinity_seconds is not None and not 0 < self.affinity_seconds <= 86400:
            raise InvalidService("timeoutSeconds: must be 1 to 86400")

    @property
    def title(self) -> str:
        """As kube-proxy's comments name it: `namespace/name:port`."""
        return f"{self.namespace}/{self.name}" + (f":{self.port_name}" if self.port_name else "")


@dataclass(frozen=True, slots=True)
class ProxiedNode:
    """The node that kube-proxy works for.

    `addresses` are its primary ones, at most one of each family: those that take node ports by default in nftables mode.
    `pod_networks` is what it calls local: the node's podCIDRs (--detect-local-mode=NodeCIDR). `service_networks` are the
    ServiceCIDRs, which it knows from 1.31 on; only nftables mode uses them.
    """

    name: str
    addresses: tuple[Address, ...]
    pod_networks: tuple[Network, ...]
    service_networks: tuple[Network, ...] = ()


def _check_label(name: str, field: str) -> None:
    if not LABEL.fullmatch(name):
        raise InvalidService(f"{field}: {name!r} is no DNS label")


def _check_port(port: int, field: str) -> None:
    if not 1 <= port <= LAST_PORT:
        raise InvalidService(f"{field}: {port} is not 1 to {LAST_PORT}")
