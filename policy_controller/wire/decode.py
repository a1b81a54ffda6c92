"""Protobuf messages as rule sets and deltas, or InvalidField: whatever arrives, nothing else is raised.

Knows the order and the number of parts. Knows nothing of streams, generations and versions (convert.py). Whether
references resolve is the rule set's own business.
"""

from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Any, Final, TypeVar

from compilers.model.faults import InvalidField
from compilers.model.settings import Enforcement
from compilers.model.words import Address
from compilers.ruleset.delta import Delta, ElementChange
from compilers.ruleset.names import NameKind
from compilers.ruleset.parts import LegendEntry, PodEntry, PolicyClass, PortElement, address_order
from compilers.ruleset.rule_set import RuleSet
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire import legal
from policy_controller.wire.decode_parts import PartReader, name_of
from policy_controller.wire.encode import ENFORCEMENTS
from policy_controller.wire.fields import ascending, at, each
from policy_controller.wire.limits import Limits, check_count, check_rules
from policy_controller.wire.packed import Halves, unpack_addresses

Message = TypeVar("Message")
Part = TypeVar("Part")

NAME: Final = attrgetter("name")
UID: Final = attrgetter("uid")
PEER_SET_NAME: Final = name_of(NameKind.PEER_SET)
PORT_SET_NAME: Final = name_of(NameKind.PORT_SET)
BLOCK_SET_NAME: Final = name_of(NameKind.BLOCK_SET)
ENFORCEMENT_BY_NUMBER: Final[dict[int, Enforcement]] = {number: one for one, number in ENFORCEMENTS.items()}
CLASS_NAME: Final = name_of(NameKind.INGRESS_CLASS, NameKind.EGRESS_CLASS)


class Reader:
    """Reads whole messages, within limits."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._part = PartReader(limits)

    def rule_set(self, message: pb.Snapshot) -> RuleSet:
        """The rule set of a snapshot; raises InvalidField with the way to what is wrong."""
        part, sets = self._part, self._limits.sets
        return RuleSet.of(
            at("node", legal.subdomain, message.node),
            peer_sets=_sorted("peer_sets", part.peer_set, message.peer_sets, NAME, sets),
            port_sets=_sorted("port_sets", part.port_set, message.port_sets, NAME, sets),
            block_sets=_sorted("block_sets", part.block_set, message.block_sets, NAME, sets),
            classes=self._classes("classes", message.classes),
            pods=self._pods("pods", message.pods),
            legend=dict(self._legend("legend", message.legend)),
            enforcement=at("enforcement", _enforcement, message.enforcement),
        )

    def delta(self, message: pb.Delta) -> Delta:
        """The delta; raises InvalidField with the way to what is wrong. Whether it fits is seen as it is applied."""
        part, sets, limits = self._part, self._limits.sets, self._limits
        return Delta(
            added_peer_sets=_sorted("added_peer_sets", part.peer_set, message.added_peer_sets, NAME, sets),
            changed_peer_sets=_sorted(
                "changed_peer_sets", self._peer_set_change, message.changed_peer_sets, NAME, sets
            ),
            removed_peer_sets=_words("removed_peer_sets", PEER_SET_NAME, message.removed_peer_sets, sets),
            added_port_sets=_sorted("added_port_sets", part.port_set, message.added_port_sets, NAME, sets),
            changed_port_sets=_sorted(
                "changed_port_sets", self._port_set_change, message.changed_port_sets, NAME, sets
            ),
            removed_port_sets=_words("removed_port_sets", PORT_SET_NAME, message.removed_port_sets, sets),
            added_block_sets=_sorted(
                "added_block_sets", part.block_set, message.added_block_sets, NAME, sets
            ),
            removed_block_sets=_words("removed_block_sets", BLOCK_SET_NAME, message.removed_block_sets, sets),
            added_classes=self._classes("added_classes", message.added_classes),
            removed_classes=_words("removed_classes", CLASS_NAME, message.removed_classes, limits.classes),
            put_pods=self._pods("put_pods", message.put_pods),
            removed_pods=_words("removed_pods", legal.uid, message.removed_pods, limits.pods),
            put_legend=self._legend("put_legend", message.put_legend),
            removed_legend=at("removed_legend", self._legend_addresses, message.removed_legend),
            enforcement=at("enforcement", _enforcement, message.enforcement)
            if message.HasField("enforcement")
            else None,
        )

    def ended(self, message: pb.Addresses) -> frozenset[Address]:
        """Addresses that have ceased to be those of their pods; raises InvalidField."""
        return frozenset(self._legend_addresses(message))

    def _classes(self, name: str, fields: Collection[pb.PolicyClass]) -> tuple[PolicyClass, ...]:
        limits = self._limits
        # Before the first is read: what a message may hold in bytes would be many times as much as values.
        at(name, lambda held: check_count(held, limits.classes), fields)
        check_rules(name, (part.rules for part in fields), limits.rules)
        return _sorted(name, self._part.policy_class, fields, NAME, limits.classes)

    def _pods(self, name: str, fields: Collection[pb.Pod]) -> tuple[PodEntry, ...]:
        return _sorted(name, self._part.pod, fields, UID, self._limits.pods)

    def _legend(
        self, name: str, fields: Collection[pb.LegendEntry]
    ) -> tuple[tuple[Address, LegendEntry], ...]:
        """Address by address, sorted; an address that two entries name is refused."""
        entries = each(name, self._part.legend_entry, fields, self._limits.legend_addresses)
        ascending(name, entries, lambda item: item[0])
        named: dict[Address, LegendEntry] = {}
        for index, (entry, addresses) in enumerate(entries):
            for address in addresses:
                if address in named:
                    raise InvalidField(f"{address} is named twice", (name, index))
                named[address] = entry
        return tuple((address, named[address]) for address in sorted(named, key=address_order))

    def _legend_addresses(self, message: pb.Addresses) -> tuple[Address, ...]:
        return unpack_addresses(Halves(message.ipv4, message.ipv6), self._limits.legend_addresses)

    def _peer_set_change(self, message: pb.PeerSetChange) -> ElementChange[Address]:
        change = ElementChange(
            at("name", PEER_SET_NAME, message.name),
            at("added", self._part.addresses, message.added),
            at("removed", self._part.addresses, message.removed),
        )
        return _checked_change(change)

    def _port_set_change(self, message: pb.PortSetChange) -> ElementChange[PortElement]:
        change = ElementChange(
            at("name", PORT_SET_NAME, message.name),
            at("added", self._part.elements, message.added),
            at("removed", self._part.elements, message.removed),
        )
        return _checked_change(change)


def _sorted(
    name: str,
    read: Callable[[Message], Part],
    fields: Collection[Message],
    key: Callable[[Part], Any],
    most: int,
) -> tuple[Part, ...]:
    return ascending(name, each(name, read, fields, most), key)


def _enforcement(number: int) -> Enforcement:
    if number not in ENFORCEMENT_BY_NUMBER:
        raise InvalidField(f"{number} is not a value that protocol version 1 has")
    return ENFORCEMENT_BY_NUMBER[number]


def _words(name: str, read: Callable[[str], str], fields: Collection[str], most: int) -> tuple[str, ...]:
    return _sorted(name, read, fields, str, most)


def _checked_change(change: ElementChange[Part]) -> ElementChange[Part]:
    if not change.added and not change.removed:
        raise InvalidField("neither adds nor removes an element")
    if not set(change.added).isdisjoint(change.removed):
        raise InvalidField("adds and removes the same element")
    return change
