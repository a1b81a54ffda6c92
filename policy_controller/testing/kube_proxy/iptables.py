"""iptables mode: kube-proxy's chains in the tables filter and nat of one family, as input of iptables-restore --noflush.

Knows the chains, their order and marks as kube-proxy 1.31 to 1.34 writes them. Not among them: node ports on 127.0.0.1, and
the chains for a load balancer's source ranges, which stay empty.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from compilers.model.words import Family
from policy_controller.testing.kube_proxy.names import (
    iptables_chain,
    iptables_endpoint_chain,
    protocol_word,
    quoted,
    socket_text,
)
from policy_controller.testing.kube_proxy.routing import Refusal, Routing, local_network, routings
from policy_controller.testing.kube_proxy.services import Endpoint, ProxiedNode, ServicePort, TrafficPolicy

MARK: Final = "0x4000"
NEW: Final = "-m conntrack --ctstate NEW"
PORTALS, VISIBLE = "kubernetes service portals", "kubernetes externally-visible service portals"
FIREWALL: Final = "kubernetes load balancer firewall"
JUMPS: Final = {
    "filter": (
        ("INPUT", NEW, FIREWALL, "KUBE-PROXY-FIREWALL"),
        ("INPUT", "", "kubernetes health check service ports", "KUBE-NODEPORTS"),
        ("INPUT", NEW, VISIBLE, "KUBE-EXTERNAL-SERVICES"),
        ("FORWARD", NEW, FIREWALL, "KUBE-PROXY-FIREWALL"),
        ("FORWARD", "", "kubernetes forwarding rules", "KUBE-FORWARD"),
        ("FORWARD", NEW, PORTALS, "KUBE-SERVICES"),
        ("FORWARD", NEW, VISIBLE, "KUBE-EXTERNAL-SERVICES"),
        ("OUTPUT", NEW, FIREWALL, "KUBE-PROXY-FIREWALL"),
        ("OUTPUT", NEW, PORTALS, "KUBE-SERVICES"),
    ),
    "nat": (
        ("PREROUTING", "", PORTALS, "KUBE-SERVICES"),
        ("OUTPUT", "", PORTALS, "KUBE-SERVICES"),
        ("POSTROUTING", "", "kubernetes postrouting rules", "KUBE-POSTROUTING"),
    ),
}
"""Table: hook's chain, match, comment and target, in the order in which they stand."""
CHAINS: Final = {
    "filter": (
        "KUBE-NODEPORTS",
        "KUBE-SERVICES",
        "KUBE-EXTERNAL-SERVICES",
        "KUBE-FORWARD",
        "KUBE-PROXY-FIREWALL",
    ),
    "nat": ("KUBE-NODEPORTS", "KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"),
}
STANDING: Final = {
    "filter": (
        "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
        f"-A KUBE-FORWARD -m mark --mark {MARK}/{MARK} -j ACCEPT",
        "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    ),
    "nat": (
        f"-A KUBE-MARK-MASQ -j MARK --or-mark {MARK}",
        f"-A KUBE-POSTROUTING -m mark ! --mark {MARK}/{MARK} -j RETURN",
        f"-A KUBE-POSTROUTING -j MARK --xor-mark {MARK}",
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
    ),
}
NO_ENDPOINTS: Final = {
    Refusal.REJECT: ("has no endpoints", "REJECT"),
    Refusal.DROP: ("has no local endpoints", "DROP"),
}
TO_THE_NODE: Final = "-m addrtype --dst-type LOCAL"
FROM_THE_NODE: Final = "-m addrtype --src-type LOCAL"


def hooks() -> str:
    """What kube-proxy does once: its chains, and the jumps to them; the same for both families. Adds; removes nothing."""
    lines: list[str] = []
    for table, jumps in JUMPS.items():
        lines += [f"*{table}", *(f":{chain} - [0:0]" for chain in CHAINS[table])]
        lines += [
            " ".join(f"-A {chain} {match} -m comment --comment {quoted(comment)} -j {target}".split())
            for chain, match, comment, target in jumps
        ]
        lines.append("COMMIT")
    return "".join(f"{line}\n" for line in lines)


def rules(
    node: ProxiedNode,
    services: Iterable[ServicePort],
    family: Family,
    before: Iterable[ServicePort] = (),
) -> str:
    """What its chains hold for these Services; chains that only the Services `before` needed are removed."""
    now = tuple(routings(services, node, family))
    kept = {chain for routing in now for chain in _chains(routing)}
    stale = sorted({one for routing in routings(before, node, family) for one in _chains(routing)} - kept)
    nat = [line for routing in now for line in _nat(routing, node)]
    # Last, because a ClusterIP or an external address may also be one of the node's.
    nat.append(f"-A KUBE-SERVICES {TO_THE_NODE} -j KUBE-NODEPORTS")
    parts = {
        "filter": ([], [line for routing in now for line in _refusals(routing)], []),
        "nat": (sorted(kept), nat, stale),
    }
    lines: list[str] = []
    for table, (chains, own, gone) in parts.items():
        # A chain that is declared is emptied; a stale one must be empty before it is deleted.
        lines += [f"*{table}", *(f":{chain} - [0:0]" for chain in (*CHAINS[table], *chains, *gone))]
        lines += [*STANDING[table], *own, *(f"-X {chain}" for chain in gone), "COMMIT"]
    return "".join(f"{line}\n" for line in lines)


def removal() -> str:
    """Input for iptables-restore without --noflush that empties both tables."""
    return "".join(f"*{table}\nCOMMIT\n" for table in JUMPS)


def _chains(routing: Routing) -> Iterator[str]:
    service = routing.service
    if routing.has_cluster_chain:
        yield iptables_chain("KUBE-SVC-", service)
    if routing.has_local_chain:
        yield iptables_chain("KUBE-SVL-", service)
    if routing.everywhere and routing.is_external:
        yield iptables_chain("KUBE-EXT-", service)
    yield from (iptables_endpoint_chain(service, endpoint) for endpoint in routing.reachable)


def _refusals(routing: Routing) -> Iterator[str]:
    service = routing.service
    word = protocol_word(service.protocol)
    match = f"-m {word} -p {word}"
    if routing.inside is not None:
        why, target = NO_ENDPOINTS[routing.inside]
        comment = _comment(f"{service.title} {why}")
        yield f"-A KUBE-SERVICES {comment} {match} -d {routing.cluster_ip} --dport {service.port} -j {target}"
    if routing.outside is not None:
        why, target = NO_ENDPOINTS[routing.outside]
        chain = f"-A KUBE-EXTERNAL-SERVICES {_comment(f'{service.title} {why}')}"
        for address in routing.external_ips:
            yield f"{chain} {match} -d {address} --dport {service.port} -j {target}"
        if service.node_port is not None:
            yield f"{chain} {TO_THE_NODE} {match} --dport {service.node_port} -j {target}"


def _nat(routing: Routing, node: ProxiedNode) -> Iterator[str]:
    service = routing.service
    word = protocol_word(service.protocol)
    match = f"-m {word} -p {word}"
    external = iptables_chain("KUBE-EXT-", service)
    if routing.inside is None:
        is_local = service.internal is TrafficPolicy.LOCAL
        chain = iptables_chain("KUBE-SVL-" if is_local else "KUBE-SVC-", service)
        cluster_ip = f"{match} -d {routing.cluster_ip} --dport {service.port}"
        comment = _comment(f"{service.title} cluster IP")
        yield f"-A KUBE-SERVICES {comment} {cluster_ip} -j {chain}"
        # Who is no pod of this node calls a ClusterIP through it: the answer must come back this way.
        local = local_network(node, routing.family)
        yield f"-A {chain} {comment} {cluster_ip} ! -s {local} -j KUBE-MARK-MASQ"
    if routing.everywhere and routing.is_external:
        for address in routing.external_ips:
            comment = _comment(f"{service.title} external IP")
            yield f"-A KUBE-SERVICES {comment} {match} -d {address} --dport {service.port} -j {external}"
        if service.node_port is not None:
            yield f"-A KUBE-NODEPORTS {_comment(service.title)} {match} --dport {service.node_port} -j {external}"
        yield from (f"-A {external} {rest}" for rest in _external(routing, node))
    if routing.has_cluster_chain:
        yield from _choice(iptables_chain("KUBE-SVC-", service), routing, routing.everywhere)
    if routing.has_local_chain:
        yield from _choice(iptables_chain("KUBE-SVL-", service), routing, routing.here)
    for endpoint in routing.reachable:
        chain = f"-A {iptables_endpoint_chain(service, endpoint)} {_comment(service.title)}"
        # A packet from a pod to itself must not come back to it with its own address as source.
        yield f"{chain} -s {endpoint.address} -j KUBE-MARK-MASQ"
        name = iptables_endpoint_chain(service, endpoint)
        affinity = f" -m recent --name {name} --set" if service.affinity_seconds is not None else ""
        yield f"{chain}{affinity} {match} -j DNAT --to-destination {socket_text(endpoint)}"


def _external(routing: Routing, node: ProxiedNode) -> Iterator[str]:
    service = routing.service
    everywhere = iptables_chain("KUBE-SVC-", service)
    comment = _comment(f"{service.title} external destinations")
    if service.external is TrafficPolicy.CLUSTER:
        yield f"{comment} -j KUBE-MARK-MASQ"
        yield f"-j {everywhere}"
        return
    # Pods and processes of this node are not "external": they may have any endpoint.
    yield f"{comment} -s {local_network(node, routing.family)} -j {everywhere}"
    yield f"{comment} {FROM_THE_NODE} -j KUBE-MARK-MASQ"
    yield f"{comment} {FROM_THE_NODE} -j {everywhere}"
    if routing.outside is None:
        yield f"-j {iptables_chain('KUBE-SVL-', service)}"


def _choice(chain: str, routing: Routing, endpoints: tuple[Endpoint, ...]) -> Iterator[str]:
    service = routing.service
    names = [iptables_endpoint_chain(service, endpoint) for endpoint in endpoints]
    comments = [_comment(f"{service.title} -> {socket_text(one)}") for one in endpoints]
    if service.affinity_seconds is not None:
        for comment, name in zip(comments, names, strict=True):
            recent = f"-m recent --name {name} --rcheck --seconds {service.affinity_seconds} --reap"
            yield f"-A {chain} {comment} {recent} -j {name}"
    for number, (comment, name) in enumerate(zip(comments, names, strict=True)):
        left = len(names) - number
        # One of those that are left; the last is certain.
        chance = f"-m statistic --mode random --probability {1 / left:0.10f} " if left > 1 else ""
        yield f"-A {chain} {comment} {chance}-j {name}"


def _comment(text: str) -> str:
    return f"-m comment --comment {quoted(text)}"
