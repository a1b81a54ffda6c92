"""The rule set of one node, whole and consistent.

Knows which part may refer to which. Knows nothing of clusters (compile/) or kernels (nftables/).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from compilers.model.faults import InvalidField
from compilers.model.settings import Enforcement
from compilers.model.words import Address, Direction
from compilers.ruleset.parts import (
    BlockSet,
    LegendEntry,
    PeerSet,
    PodEntry,
    PolicyClass,
    PortSet,
    address_order,
)

Part = TypeVar("Part")


def by_key(parts: Iterable[Part], key: Callable[[Part], str]) -> dict[str, Part]:
    """Parts by name, sorted by name; raises InvalidField when a name comes twice."""
    listed = sorted(parts, key=key)
    mapping = {key(part): part for part in listed}
    if len(mapping) != len(listed):
        raise InvalidField("a name comes twice")
    return mapping


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Everything one node enforces. Every mapping is sorted by key; every reference resolves; no address has two pods.

    `legend` names the addresses of the node's pods and of the members of its peer sets. With `enforcement` off there is
    nobody isolated, and nothing that a class could refer to.
    """

    node: str
    peer_sets: Mapping[str, PeerSet] = field(default_factory=dict)
    port_sets: Mapping[str, PortSet] = field(default_factory=dict)
    block_sets: Mapping[str, BlockSet] = field(default_factory=dict)
    classes: Mapping[str, PolicyClass] = field(default_factory=dict)
    pods: Mapping[str, PodEntry] = field(default_factory=dict)
    legend: Mapping[Address, LegendEntry] = field(default_factory=dict)
    enforcement: Enforcement = Enforcement.ENFORCED

    @classmethod
    def of(  # noqa: PLR0913 - one for each part, all by name
        cls,
        node: str,
        *,
        peer_sets: Iterable[PeerSet] = (),
        port_sets: Iterable[PortSet] = (),
        block_sets: Iterable[BlockSet] = (),
        classes: Iterable[PolicyClass] = (),
        pods: Iterable[PodEntry] = (),
        legend: Mapping[Address, LegendEntry] | None = None,
        enforcement: Enforcement = Enforcement.ENFORCED,
    ) -> "RuleSet":
        """A rule set of these parts, in canonical order."""
        entries = legend or {}
        return cls(
            node=node,
            peer_sets=by_key(peer_sets, lambda part: part.name),
            port_sets=by_key(port_sets, lambda part: part.name),
            block_sets=by_key(block_sets, lambda part: part.name),
            classes=by_key(classes, lambda part: part.name),
            pods=by_key(pods, lambda part: part.uid),
            legend={address: entries[address] for address in sorted(entries, key=address_order)},
            enforcement=enforcement,
        )

    def __post_init__(self) -> None:
        if self.is_off and any((self.classes, self.peer_sets, self.port_sets, self.block_sets)):
            raise InvalidField("is off, and yet there are classes or sets", ("enforcement",))
        sets = self.peer_sets.keys() | self.port_sets.keys() | self.block_sets.keys()
        for policy_class in self.classes.values():
            for name in policy_class.set_names - sets:
                raise InvalidField(f"refers to {name}, which is not there", ("classes", policy_class.name))
        taken: dict[Address, str] = {}
        for pod in self.pods.values():
            for direction in Direction:
                name_of_class = pod.class_of(direction)
                if name_of_class is not None and name_of_class not in self.classes:
                    raise InvalidField(f"refers to {name_of_class}, which is not there", ("pods", pod.uid))
            for address in pod.addresses:
                if taken.setdefault(address, pod.uid) != pod.uid:
                    raise InvalidField(f"{address} also belongs to pod {taken[address]}", ("pods", pod.uid))

    def waiting(self, direction: Direction) -> tuple[PodEntry, ...]:
        """Pods that are isolated in this direction and have no address yet."""
        return tuple(
            pod for pod in self.pods.values() if not pod.addresses and pod.class_of(direction) is not None
        )

    @property
    def is_off(self) -> bool:
        """Whether nobody is isolated because enforcement is off in the whole cluster."""
        return self.enforcement is Enforcement.OFF

    @property
    def isolates(self) -> bool:
        """Whether any gate of the node is isolated."""
        return any(pod.ingress is not None or pod.egress is not None for pod in self.pods.values())
