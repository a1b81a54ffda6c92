"""nftables mode: `table ip kube-proxy` and `table ip6 kube-proxy`, as one transaction of `nft -f`.

Knows the hooks, priorities, chains, maps and marks that kube-proxy 1.31 to 1.34 uses. Each load flushes what the table holds and
writes it anew, as kube-proxy's full sync does; chains of Services that are gone stay behind, empty.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from compilers.model.words import Family
from policy_controller.testing.kube_proxy.names import (
    nft_base,
    nft_endpoint_base,
    protocol_word,
    quoted,
    socket_text,
)
from policy_controller.testing.kube_proxy.routing import (
    Refusal,
    Routing,
    local_network,
    node_addresses,
    routings,
)
from policy_controller.testing.kube_proxy.services import Endpoint, ProxiedNode, ServicePort, TrafficPolicy

TABLE: Final = "kube-proxy"
MARK: Final = "0x4000"
WORDS: Final = {Family.IPV4: "ip", Family.IPV6: "ip6"}
"""Table family, and the prefix of address matches."""

BASE_CHAINS: Final = {
    "filter-prerouting-pre-dnat": "type filter hook prerouting priority -110 ;",
    "filter-output-pre-dnat": "type filter hook output priority -110 ;",
    "filter-input": "type filter hook input priority 0 ;",
    "filter-forward": "type filter hook forward priority 0 ;",
    "filter-output": "type filter hook output priority 0 ;",
    "nat-prerouting": "type nat hook prerouting priority -100 ;",
    "nat-output": "type nat hook output priority -100 ;",
    "nat-postrouting": "type nat hook postrouting priority 100 ;",
}
CHAINS: Final = (
    "services",
    "service-endpoints-check",
    "nodeport-endpoints-check",
    "cluster-ips-check",
    "firewall-check",
    "mark-for-masquerade",
    "masquerading",
    "reject-chain",
)
JUMPS: Final = (
    ("filter-prerouting-pre-dnat", "ct state new jump firewall-check"),
    ("filter-output-pre-dnat", "ct state new jump firewall-check"),
    ("filter-input", "ct state new jump nodeport-endpoints-check"),
    ("filter-input", "ct state new jump service-endpoints-check"),
    ("filter-forward", "ct state new jump service-endpoints-check"),
    ("filter-forward", "ct state new jump cluster-ips-check"),
    ("filter-output", "ct state new jump service-endpoints-check"),
    ("filter-output", "ct state new jump cluster-ips-check"),
    ("nat-prerouting", "jump services"),
    ("nat-output", "jump services"),
    ("nat-postrouting", "jump masquerading"),
    ("mark-for-masquerade", f"mark set mark or {MARK}"),
    ("masquerading", f"mark and {MARK} == 0 return"),
    ("masquerading", f"mark set mark xor {MARK}"),
    ("masquerading", "masquerade fully-random"),
    ("reject-chain", "reject"),
)
BY_ADDRESS: Final = ("firewall-ips", "no-endpoint-services", "service-ips")
BY_NODE_PORT: Final = ("no-endpoint-nodeports", "service-nodeports")
SETS: Final = ("cluster-ips", "nodeport-ips")
REFUSALS: Final = {Refusal.REJECT: "goto reject-chain", Refusal.DROP: "drop"}


def rules(node: ProxiedNode, services: Iterable[ServicePort]) -> str:
    """The transaction that makes both tables what these Services need, whatever they hold."""
    known = tuple(services)
    return "".join(f"{line}\n" for family in Family for line in _family(node, known, family))


def removal() -> str:
    """The transaction that removes both tables, which must be there."""
    return "".join(f"delete table {word} {TABLE}\n" for word in WORDS.values())


def _family(node: ProxiedNode, services: tuple[ServicePort, ...], family: Family) -> Iterator[str]:
    table = f"{WORDS[family]} {TABLE}"
    yield f"add table {table} {{ comment {quoted('rules for kube-proxy')} ; }}"
    yield from _containers(table, family)
    yield f"flush table {table}"
    yield from (f"flush map {table} {name}" for name in (*BY_ADDRESS, *BY_NODE_PORT))
    yield from (f"flush set {table} {name}" for name in SETS)
    yield from (f"add rule {table} {chain} {rule}" for chain, rule in (*JUMPS, *_dispatch(node, family)))
    for address in node_addresses(node, family):
        yield f"add element {table} nodeport-ips {{ {address} }}"
    for routing in routings(services, node, family):
        # A chain must be there before the first rule or element that names it.
        yield from (f"add chain {table} {chain}" for chain in _chains(routing))
        yield from (f"add {line}" for line in _affinity_sets(table, routing))
        for chain, rule in _rules(routing, node):
            yield f"add rule {table} {chain} {rule}"
        for element in _elements(routing):
            yield f"add element {table} {element}"


def _containers(table: str, family: Family) -> Iterator[str]:
    address = f"ipv{family.value}_addr"
    for name in SETS:
        yield f"add set {table} {name} {{ type {address} ; }}"
    for name in BY_ADDRESS:
        yield f"add map {table} {name} {{ type {address} . inet_proto . inet_service : verdict ; }}"
    for name in BY_NODE_PORT:
        yield f"add map {table} {name} {{ type inet_proto . inet_service : verdict ; }}"
    for name, hook in BASE_CHAINS.items():
        yield f"add chain {table} {name} {{ {hook} }}"
    for name in CHAINS:
        yield f"add chain {table} {name}"


def _dispatch(node: ProxiedNode, family: Family) -> Iterator[tuple[str, str]]:
    word = WORDS[family]
    by_address = f"{word} daddr . meta l4proto . th dport vmap"
    by_node_port = f"{word} daddr @nodeport-ips meta l4proto . th dport vmap"
    yield "services", f"{by_address} @service-ips"
    yield "services", f"{by_node_port} @service-nodeports"
    yield "service-endpoints-check", f"{by_address} @no-endpoint-services"
    yield "nodeport-endpoints-check", f"{by_node_port} @no-endpoint-nodeports"
    yield "firewall-check", f"{by_address} @firewall-ips"
    yield "cluster-ips-check", f"{word} daddr @cluster-ips reject"
    networks = [str(one) for one in node.service_networks if one.version == family.value]
    if networks:
        yield "cluster-ips-check", f"{word} daddr {{ {', '.join(networks)} }} drop"


def _chains(routing: Routing) -> Iterator[str]:
    base = nft_base(routing.service)
    yield from (_endpoint(routing, endpoint) for endpoint in routing.reachable)
    if routing.has_cluster_chain:
        yield f"service-{base}"
    if routing.has_local_chain:
        yield f"local-{base}"
    if routing.everywhere and routing.is_external:
        yield f"external-{base}"


def _affinity_sets(table: str, routing: Routing) -> Iterator[str]:
    seconds = routing.service.affinity_seconds
    for endpoint in routing.reachable if seconds is not None else ():
        kind = f"type ipv{routing.family.value}_addr ; flags dynamic,timeout ; timeout {seconds}s ;"
        yield f"set {table} {_affinity(routing, endpoint)} {{ {kind} }}"


def _rules(routing: Routing, node: ProxiedNode) -> Iterator[tuple[str, str]]:
    """The rules of a Service port's own chains, each with its chain."""
    service, word = routing.service, WORDS[routing.family]
    base, local = nft_base(service), local_network(node, routing.family)
    if routing.inside is None:
        chain = f"local-{base}" if service.internal is TrafficPolicy.LOCAL else f"service-{base}"
        # Who is no pod of this node calls a ClusterIP through it: the answer must come back this way.
        match = f"{word} daddr {routing.cluster_ip} {protocol_word(service.protocol)} dport {service.port}"
        yield chain, f"{match} {word} saddr != {local} jump mark-for-masquerade"
    if routing.everywhere and routing.is_external:
        yield from ((f"external-{base}", rule) for rule in _external(routing, node))
    if routing.has_cluster_chain:
        yield from ((f"service-{base}", rule) for rule in _choice(routing, routing.everywhere))
    if routing.has_local_chain:
        yield from ((f"local-{base}", rule) for rule in _choice(routing, routing.here))
    for endpoint in routing.reachable:
        chain = _endpoint(routing, endpoint)
        # A packet from a pod to itself must not come back to it with its own address as source.
        yield chain, f"{word} saddr {endpoint.address} jump mark-for-masquerade"
        if service.affinity_seconds is not None:
            yield chain, f"update @{_affinity(routing, endpoint)} {{ {word} saddr }}"
        yield chain, f"meta l4proto {protocol_word(service.protocol)} dnat to {socket_text(endpoint)}"


def _external(routing: Routing, node: ProxiedNode) -> Iterator[str]:
    base, word = nft_base(routing.service), WORDS[routing.family]
    if routing.service.external is TrafficPolicy.CLUSTER:
        yield "jump mark-for-masquerade"
        yield f"goto service-{base}"
        return
    # Pods and processes of this node are not "external": they may have any endpoint.
    yield f"{word} saddr {local_network(node, routing.family)} goto service-{base}"
    yield "fib saddr type local jump mark-for-masquerade"
    yield f"fib saddr type local goto service-{base}"
    if routing.outside is None:
        yield f"goto local-{base}"


def _choice(routing: Routing, endpoints: tuple[Endpoint, ...]) -> Iterator[str]:
    if routing.service.affinity_seconds is not None:
        for endpoint in endpoints:
            match = f"{WORDS[routing.family]} saddr @{_affinity(routing, endpoint)}"
            yield f"{match} goto {_endpoint(routing, endpoint)}"
    choices = ", ".join(f"{n} : goto {_endpoint(routing, one)}" for n, one in enumerate(endpoints))
    yield f"numgen random mod {len(endpoints)} vmap {{ {choices} }}"


def _elements(routing: Routing) -> Iterator[str]:
    service = routing.service
    word, base = protocol_word(service.protocol), nft_base(service)
    comment = f"comment {quoted(service.title)}"
    yield f"cluster-ips {{ {routing.cluster_ip} }}"
    inside = f"{routing.cluster_ip} . {word} . {service.port}"
    if routing.inside is None:
        chain = "local" if service.internal is TrafficPolicy.LOCAL else "service"
        yield f"service-ips {{ {inside} : goto {chain}-{base} }}"
    else:
        yield f"no-endpoint-services {{ {inside} {comment} : {REFUSALS[routing.inside]} }}"
    outside = [
        ("service-ips", "no-endpoint-services", f"{address} . {word} . {service.port}")
        for address in routing.external_ips
    ]
    if service.node_port is not None:
        outside.append(("service-nodeports", "no-endpoint-nodeports", f"{word} . {service.node_port}"))
    for served, refused, key in outside:
        if routing.everywhere:
            yield f"{served} {{ {key} : goto external-{base} }}"
        if routing.outside is not None:
            yield f"{refused} {{ {key} {comment} : {REFUSALS[routing.outside]} }}"


def _endpoint(routing: Routing, endpoint: Endpoint) -> str:
    return f"endpoint-{nft_endpoint_base(routing.service, endpoint)}"


def _affinity(routing: Routing, endpoint: Endpoint) -> str:
    return f"affinity-{nft_endpoint_base(routing.service, endpoint)}"
