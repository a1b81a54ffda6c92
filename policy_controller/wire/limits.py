"""How much one message, and what deltas make of it, may hold. What is beyond is refused by name of the limit.

Knows numbers and how the parts of a rule set are counted. Knows no message.
"""

from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Final

from compilers.model.faults import InvalidField
from compilers.model.words import Family
from compilers.ruleset.rule_set import RuleSet


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of one message and of one rule set; each is far above what a node of 500 pods in a cluster of 100,000 needs.

    The compiler keeps below them (compilers/compile/room.py): a rule set beyond them is an error of the operator.
    """

    message_bytes: int = 128 << 20
    sets: int = 4096
    """Peer sets, port sets and block sets, each for itself."""
    set_elements: int = 1_048_576
    """Elements of one set and one family."""
    classes: int = 8192
    class_policies: int = 16_384
    class_rules: int = 16_384
    rules: int = 262_144
    """Rules of all classes together: each costs several hundred bytes once it is read."""
    pods: int = 4096
    pod_addresses: int = 256
    legend_addresses: int = 2_097_152
    """Addresses that the legend names, of one family."""
    capabilities: int = 64


LIMITS: Final = Limits()


def check_count(items: Sized, most: int) -> None:
    """Raise InvalidField when there are more than `most`."""
    if len(items) > most:
        raise InvalidField(f"has {len(items)} entries, at most {most} are accepted")


def check_rules(name: str, rules: Iterable[Sized], most: int) -> None:
    """Raise InvalidField when the classes of field `name` have more than `most` rules together; `rules` are those of each class."""
    count = sum(map(len, rules))
    if count > most:
        raise InvalidField(f"have {count} rules together, at most {most} are accepted", (name,))


def check_rule_set(rule_set: RuleSet, limits: Limits) -> None:
    """Raise InvalidField when deltas have made a rule set larger than a snapshot may be."""
    counts: tuple[tuple[str, Sized, int], ...] = (
        ("peer_sets", rule_set.peer_sets, limits.sets),
        ("port_sets", rule_set.port_sets, limits.sets),
        ("block_sets", rule_set.block_sets, limits.sets),
        ("classes", rule_set.classes, limits.classes),
        ("pods", rule_set.pods, limits.pods),
        # The cap counts one family; twice it bounds both.
        ("legend", rule_set.legend, 2 * limits.legend_addresses),
    )
    for name, items, most in counts:
        _check_under(name, items, most)
    check_rules("classes", (part.rules for part in rule_set.classes.values()), limits.rules)
    for peers in rule_set.peer_sets.values():
        if len(peers.addresses) > limits.set_elements:
            _check_halves(peers.name, [address.version for address in peers.addresses], limits)
    for ports in rule_set.port_sets.values():
        if len(ports.elements) > limits.set_elements:
            _check_halves(ports.name, [address.version for address, _, _ in ports.elements], limits)


def _check_halves(name: str, versions: list[int], limits: Limits) -> None:
    for family in Family:
        _check_under(name, [version for version in versions if version == family.value], limits.set_elements)


def _check_under(name: str, items: Sized, most: int) -> None:
    try:
        check_count(items, most)
    except InvalidField as fault:
        raise fault.under((name,)) from None
