"""Protobuf messages as parts of a rule set, or InvalidField: whatever arrives, nothing else is raised.

Knows which field must hold what, word by word. Knows nothing of the whole that the parts make (decode.py).
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from compilers.model.faults import InvalidField, ObjectRef
from compilers.model.settings import ExistingConnections
from compilers.model.words import Address, Direction, Family, Protocol
from compilers.ruleset.names import NameKind
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
    RuleRef,
    check_name,
)
from policy_controller.wire import encode, legal
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.fields import at, each, said
from policy_controller.wire.limits import Limits
from policy_controller.wire.packed import Halves, unpack_addresses, unpack_port_elements, unpack_ranges

DIRECTIONS: Final[dict[int, Direction]] = {number: word for word, number in encode.DIRECTIONS.items()}
PROTOCOLS: Final[dict[int, Protocol]] = {number: word for word, number in encode.PROTOCOLS.items()}
EXISTING: Final[dict[int, ExistingConnections]] = {number: word for word, number in encode.EXISTING.items()}
POLICY_KINDS: Final[dict[int, str]] = {number: word for word, number in encode.POLICY_KINDS.items()}

Word = TypeVar("Word")


class PartReader:
    """Reads the parts, within limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def addresses(self, message: pb.Addresses) -> tuple[Address, ...]:
        """Ascending addresses of one set."""
        return unpack_addresses(_halves(message), self._limits.set_elements)

    def elements(self, message: pb.PortElements) -> tuple[PortElement, ...]:
        """Elements of one named-port set."""
        return unpack_port_elements(_halves(message), self._limits.set_elements)

    def peer_set(self, message: pb.PeerSet) -> PeerSet:
        """A peer set, perhaps empty."""
        return PeerSet(message.name, frozenset(at("addresses", self.addresses, message.addresses)))

    def port_set(self, message: pb.PortSet) -> PortSet:
        """A named-port set, perhaps empty."""
        return PortSet(message.name, frozenset(at("elements", self.elements, message.elements)))

    def block_set(self, message: pb.BlockSet) -> BlockSet:
        """A block set, when its name is what its ranges make it."""
        choice = said("ranges", message.WhichOneof("ranges"), ("ipv4", "ipv6"))
        family = Family.IPV4 if choice == "ipv4" else Family.IPV6
        packed = message.ipv4 if family is Family.IPV4 else message.ipv6
        part = BlockSet(family, unpack_ranges(family, packed, self._limits.set_elements))
        _same_name(message.name, part.name)
        return part

    def policy_class(self, message: pb.PolicyClass) -> PolicyClass:
        """A class, when its name is what its policies and rules make it."""
        direction = _word("direction", DIRECTIONS, message.direction)
        policies = each("policies", _policy_ref, message.policies, self._limits.class_policies)
        if len(set(policies)) != len(policies):
            raise InvalidField("names a policy twice", ("policies",))
        rules = each("rules", lambda rule: _rule(rule, policies), message.rules, self._limits.class_rules)
        part = PolicyClass(direction, policies, rules)
        _same_name(message.name, part.name)
        return part

    def pod(self, message: pb.Pod) -> PodEntry:
        """A pod, with or without addresses."""
        gates = ("open", "class")
        ingress = said("ingress", message.WhichOneof("ingress"), gates)
        egress = said("egress", message.WhichOneof("egress"), gates)
        return PodEntry(
            uid=at("uid", legal.uid, message.uid),
            namespace=at("namespace", legal.namespace, message.namespace),
            name=at("name", legal.subdomain, message.name),
            addresses=at("addresses", self._pod_addresses, message.addresses),
            ingress=message.ingress_class if ingress == "ingress_class" else None,
            egress=message.egress_class if egress == "egress_class" else None,
            existing=_word("existing_connections", EXISTING, message.existing_connections),
        )

    def legend_entry(self, message: pb.LegendEntry) -> tuple[LegendEntry, tuple[Address, ...]]:
        """A legend entry and the addresses it names, at least one."""
        addresses = at("addresses", self.addresses, message.addresses)
        if not addresses:
            raise InvalidField("must not be empty: an entry names addresses", ("addresses",))
        entry = LegendEntry(
            namespace=at("namespace", legal.namespace, message.namespace),
            pod=at("pod", legal.subdomain, message.pod),
            uid=at("uid", legal.uid, message.uid),
            workload_kind=at("workload_kind", legal.workload, message.workload_kind),
            workload_name=at("workload_name", legal.workload, message.workload_name),
        )
        return entry, addresses

    def _pod_addresses(self, message: pb.Addresses) -> tuple[Address, ...]:
        return unpack_addresses(_halves(message), self._limits.pod_addresses)


def name_of(*kinds: NameKind) -> Callable[[str], str]:
    """A reader of names of these kinds."""

    def read(name: str) -> str:
        check_name(name, *kinds)
        return name

    return read


def _halves(message: pb.Addresses | pb.PortElements) -> Halves:
    return Halves(message.ipv4, message.ipv6)


def _word(name: str, words: Mapping[int, Word], number: int) -> Word:
    if number not in words:
        raise InvalidField(f"{number} is not a value that protocol version 1 has", (name,))
    return words[number]


def _same_name(said_name: str, computed: str) -> None:
    if said_name != computed:
        raise InvalidField(f"is not the name of this content, which is {computed}", ("name",))


def _policy_ref(message: pb.PolicyRef) -> ObjectRef:
    return ObjectRef(
        kind=_word("kind", POLICY_KINDS, message.kind),
        namespace=at("namespace", legal.namespace, message.namespace),
        name=at("name", legal.subdomain, message.name),
    )


def _rule(message: pb.Rule, policies: tuple[ObjectRef, ...]) -> ClassRule:
    peer = said("peer", message.WhichOneof("peer"), ("everyone", "peer_set"))
    if message.policy >= len(policies):
        raise InvalidField(f"{message.policy} is not the index of a policy of the class", ("policy",))
    policy = policies[message.policy]
    return ClassRule(
        peer=None if peer == "everyone" else message.peer_set,
        ports=_ports(message),
        origin=RuleRef(policy.namespace, policy.name, message.index),
    )


def _ports(message: pb.Rule) -> PortSpan | str | None:
    match said("ports", message.WhichOneof("ports"), ("every_port", "span", "port_set")):
        case "every_port":
            return None
        case "span":
            return at("span", _span, message.span)
        case _:
            return message.port_set


def _span(message: pb.PortSpan) -> PortSpan:
    return PortSpan(_word("protocol", PROTOCOLS, message.protocol), message.first, message.last)
