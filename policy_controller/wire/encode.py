"""Parts of a rule set and of a delta, as protobuf messages.

Knows which field holds what. Knows nothing of streams, generations and versions (convert.py).
Values are valid by construction, so what can go wrong here is only what the wire has no word for.
"""

from typing import Final

from compilers.model.faults import InvalidField, ObjectRef
from compilers.model.settings import Enforcement, ExistingConnections
from compilers.model.words import Address, Direction, Family, Protocol
from compilers.ruleset.delta import Delta, ElementChange
from compilers.ruleset.parts import (
    BlockSet,
    ClassRule,
    LegendEntry,
    PeerSet,
    PodEntry,
    PolicyClass,
    PortElement,
    PortSet,
    PortSpan,
)
from compilers.ruleset.rule_set import RuleSet
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.packed import Halves, pack_addresses, pack_port_elements, pack_ranges

DIRECTIONS: Final = {
    Direction.INGRESS: pb.DIRECTION_INGRESS,
    Direction.EGRESS: pb.DIRECTION_EGRESS,
}
PROTOCOLS: Final = {
    Protocol.TCP: pb.PROTOCOL_TCP,
    Protocol.UDP: pb.PROTOCOL_UDP,
    Protocol.SCTP: pb.PROTOCOL_SCTP,
}
EXISTING: Final = {
    ExistingConnections.KEEP: pb.EXISTING_CONNECTIONS_KEEP,
    ExistingConnections.CUT: pb.EXISTING_CONNECTIONS_CUT,
}
POLICY_KINDS: Final = {"NetworkPolicy": pb.POLICY_KIND_NETWORK_POLICY}
ENFORCEMENTS: Final = {
    Enforcement.ENFORCED: pb.POLICY_ENFORCEMENT_ENFORCED,
    Enforcement.OFF: pb.POLICY_ENFORCEMENT_OFF,
}
EVERYTHING: Final = pb.Everything()


def encode_rule_set(rule_set: RuleSet, message: pb.Snapshot) -> None:
    """Write all parts of a rule set into a snapshot; raises InvalidField where the wire has no word."""
    message.node = rule_set.node
    message.peer_sets.extend(map(_peer_set, rule_set.peer_sets.values()))
    message.port_sets.extend(map(_port_set, rule_set.port_sets.values()))
    message.block_sets.extend(map(_block_set, rule_set.block_sets.values()))
    message.classes.extend(map(_policy_class, rule_set.classes.values()))
    message.pods.extend(map(_pod, rule_set.pods.values()))
    message.legend.extend(_legend(tuple(rule_set.legend.items())))
    message.enforcement = ENFORCEMENTS[rule_set.enforcement]


def encode_delta(delta: Delta, message: pb.Delta) -> None:
    """Write all parts of a delta into its message; raises InvalidField where the wire has no word."""
    message.added_peer_sets.extend(map(_peer_set, delta.added_peer_sets))
    message.changed_peer_sets.extend(map(_peer_set_change, delta.changed_peer_sets))
    message.removed_peer_sets.extend(delta.removed_peer_sets)
    message.added_port_sets.extend(map(_port_set, delta.added_port_sets))
    message.changed_port_sets.extend(map(_port_set_change, delta.changed_port_sets))
    message.removed_port_sets.extend(delta.removed_port_sets)
    message.added_block_sets.extend(map(_block_set, delta.added_block_sets))
    message.removed_block_sets.extend(delta.removed_block_sets)
    message.added_classes.extend(map(_policy_class, delta.added_classes))
    message.removed_classes.extend(delta.removed_classes)
    message.put_pods.extend(map(_pod, delta.put_pods))
    message.removed_pods.extend(delta.removed_pods)
    message.put_legend.extend(_legend(delta.put_legend))
    if delta.removed_legend:
        message.removed_legend.CopyFrom(_addresses(delta.removed_legend))
    if delta.enforcement is not None:
        message.enforcement = ENFORCEMENTS[delta.enforcement]


def encode_ended(ended: frozenset[Address], message: pb.Snapshot | pb.Delta) -> None:
    """Write the addresses that have ceased to be those of their pods."""
    if ended:
        message.ended.CopyFrom(_addresses(ended))


def _addresses(addresses: tuple[Address, ...] | frozenset[Address]) -> pb.Addresses:
    return _address_halves(pack_addresses(addresses))


def _address_halves(halves: Halves) -> pb.Addresses:
    return pb.Addresses(ipv4=halves.ipv4, ipv6=halves.ipv6)


def _elements(elements: tuple[PortElement, ...] | frozenset[PortElement]) -> pb.PortElements:
    halves = pack_port_elements(elements)
    return pb.PortElements(ipv4=halves.ipv4, ipv6=halves.ipv6)


def _peer_set(part: PeerSet) -> pb.PeerSet:
    return pb.PeerSet(name=part.name, addresses=_addresses(part.addresses))


def _peer_set_change(change: ElementChange[Address]) -> pb.PeerSetChange:
    return pb.PeerSetChange(
        name=change.name, added=_addresses(change.added), removed=_addresses(change.removed)
    )


def _port_set(part: PortSet) -> pb.PortSet:
    return pb.PortSet(name=part.name, elements=_elements(part.elements))


def _port_set_change(change: ElementChange[PortElement]) -> pb.PortSetChange:
    return pb.PortSetChange(
        name=change.name, added=_elements(change.added), removed=_elements(change.removed)
    )


def _block_set(part: BlockSet) -> pb.BlockSet:
    packed = pack_ranges(part.family, part.ranges)
    if part.family is Family.IPV4:
        return pb.BlockSet(name=part.name, ipv4=packed)
    return pb.BlockSet(name=part.name, ipv6=packed)


def _policy_class(part: PolicyClass) -> pb.PolicyClass:
    positions = {(policy.namespace, policy.name): index for index, policy in enumerate(part.policies)}
    return pb.PolicyClass(
        name=part.name,
        direction=DIRECTIONS[part.direction],
        policies=map(_policy_ref, part.policies),
        rules=(_rule(rule, positions) for rule in part.rules),
    )


def _policy_ref(ref: ObjectRef) -> pb.PolicyRef:
    if ref.kind not in POLICY_KINDS:
        raise InvalidField(f"{ref} is of a kind that the wire does not know", ("policies",))
    return pb.PolicyRef(kind=POLICY_KINDS[ref.kind], namespace=ref.namespace, name=ref.name)


def _rule(rule: ClassRule, positions: dict[tuple[str, str], int]) -> pb.Rule:
    origin = (rule.origin.namespace, rule.origin.policy)
    if origin not in positions:
        raise InvalidField(f"{'/'.join(origin)} is not a policy of the class", ("rules",))
    message = pb.Rule(policy=positions[origin], index=rule.origin.index)
    if rule.peer is None:
        message.everyone.CopyFrom(EVERYTHING)
    else:
        message.peer_set = rule.peer
    match rule.ports:
        case None:
            message.every_port.CopyFrom(EVERYTHING)
        case PortSpan(protocol, first, last):
            message.span.CopyFrom(pb.PortSpan(protocol=PROTOCOLS[protocol], first=first, last=last))
        case name:
            message.port_set = name
    return message


def _pod(pod: PodEntry) -> pb.Pod:
    message = pb.Pod(uid=pod.uid, namespace=pod.namespace, name=pod.name, addresses=_addresses(pod.addresses))
    if pod.ingress is None:
        message.ingress_open.CopyFrom(EVERYTHING)
    else:
        message.ingress_class = pod.ingress
    if pod.egress is None:
        message.egress_open.CopyFrom(EVERYTHING)
    else:
        message.egress_class = pod.egress
    message.existing_connections = EXISTING[pod.existing]
    return message


def _legend(items: tuple[tuple[Address, LegendEntry], ...]) -> list[pb.LegendEntry]:
    """One message an entry, with all the addresses it names."""
    named: dict[LegendEntry, list[Address]] = {}
    for address, entry in items:
        named.setdefault(entry, []).append(address)
    return [
        pb.LegendEntry(
            namespace=entry.namespace,
            pod=entry.pod,
            uid=entry.uid,
            workload_kind=entry.workload_kind,
            workload_name=entry.workload_name,
            addresses=_address_halves(pack_addresses(addresses)),
        )
        for entry, addresses in sorted(named.items())
    ]
