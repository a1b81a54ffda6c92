"""Misses: why one part of a rule does not match, said with what was wanted and what was found.

Knows how a miss reads and how far it is from a match. Knows nothing of how it was found.
Text is made only when somebody asks: judging many connections must not pay for sentences nobody reads.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from compilers.evaluate.ends import End, NodeEnd, PodEnd, shown
from compilers.model.block import IpBlock
from compilers.model.faults import Fault, FieldPath
from compilers.model.port import PortMatch
from compilers.model.selector import LabelSelector, quoted
from compilers.model.words import Address, Direction, Protocol


@dataclass(frozen=True, slots=True)
class Miss(ABC):
    """One condition that failed; `path` is the field of the policy that asks for it."""

    path: FieldPath

    @property
    def distance(self) -> int:
        """How many things would have to be different; at least 1."""
        return 1

    @abstractmethod
    def __str__(self) -> str: ...


@dataclass(frozen=True, slots=True)
class WrongLabels(Miss):
    """A selector does not match the labels of a pod or namespace, named by `owner`."""

    selector: LabelSelector
    owner: str
    labels: Mapping[str, str] = field(hash=False)

    @property
    def distance(self) -> int:
        return len(self.selector.mismatches(self.labels))

    def __str__(self) -> str:
        failed = ", ".join(self.selector.mismatches(self.labels))
        keys = [key for key, value in self.selector.match_labels if self.labels.get(key) != value]
        keys += [item.key for item in self.selector.match_expressions if not item.matches(self.labels)]
        found = ", ".join(self._found(key) for key in dict.fromkeys(keys))
        return f"{self.path[-1]} {failed}: {self.owner} has {found}"

    def _found(self, key: str) -> str:
        if key not in self.labels:
            return f"no label {key}"
        value = self.labels[key]
        return f"{key}={shown(value) if value else ''}"


@dataclass(frozen=True, slots=True)
class OtherNamespace(Miss):
    """A podSelector without namespaceSelector, and a pod of another namespace than the policy's."""

    own: str
    end: PodEnd

    def __str__(self) -> str:
        return f"podSelector without namespaceSelector: pod {self.end} is not in namespace {shown(self.own)}"


@dataclass(frozen=True, slots=True)
class UnknownNamespace(Miss):
    """A namespaceSelector, and a pod whose namespace nobody has described."""

    end: PodEnd

    def __str__(self) -> str:
        return f"namespaceSelector: the labels of namespace {shown(self.end.pod.namespace)} are not known"


@dataclass(frozen=True, slots=True)
class NoPod(Miss):
    """A selector, and an end that is no pod with a network of its own."""

    end: End

    def __str__(self) -> str:
        if isinstance(self.end, NodeEnd):
            return f"a selector matches pods only: {self.end.address} is {self.end}, which only an ipBlock can name"
        return f"a selector matches pods only: {self.end} is outside the cluster"


@dataclass(frozen=True, slots=True)
class OutsideBlock(Miss):
    """An address that is not in the cidr."""

    block: IpBlock
    address: Address

    def __str__(self) -> str:
        return f"{self.address} is not in {self.block.cidr}"


@dataclass(frozen=True, slots=True)
class Excepted(Miss):
    """An address that is in the cidr, and in one of its excepts too."""

    hole: IPv4Network | IPv6Network
    address: Address

    def __str__(self) -> str:
        return f"{self.address} is in except {self.hole}"


@dataclass(frozen=True, slots=True)
class OtherPort(Miss):
    """Another protocol, or a number outside the range."""

    wanted: PortMatch
    service: str
    protocol: Protocol | int

    @property
    def distance(self) -> int:
        return 1 if self.protocol is self.wanted.protocol else 2

    def __str__(self) -> str:
        if not isinstance(self.protocol, Protocol):
            return f"{self.service} is not {self.wanted}: only a rule without ports admits it"
        return f"port {self.service} is not {self.wanted}"


@dataclass(frozen=True, slots=True)
class OtherNamedPort(Miss):
    """A pod gives the name other numbers with this protocol, or none."""

    wanted: PortMatch
    end: PodEnd
    numbers: tuple[int, ...]
    service: str

    def __str__(self) -> str:
        name = f"port name {quoted(str(self.wanted.port))}: pod {self.end} gives it"
        if not self.numbers:
            return f"{name} no {self.wanted.protocol.value} number"
        numbers = ", ".join(map(str, self.numbers))
        return f"{name} {self.wanted.protocol.value} {numbers}, and this is {self.service}"


@dataclass(frozen=True, slots=True)
class NoPortNames(Miss):
    """A port name of an egress rule, and a destination where no container could give it a number."""

    wanted: PortMatch
    where: str

    def __str__(self) -> str:
        return f"port name {quoted(str(self.wanted.port))}: {self.where} has no port names"


@dataclass(frozen=True, slots=True)
class Unreadable(Miss):
    """A side that could not be read: what it would have admitted is not known, so it admits nothing."""

    fault: Fault

    def __str__(self) -> str:
        return f"the policy could not be read: {self.fault}"


@dataclass(frozen=True, slots=True)
class NoRule(Miss):
    """A side without rules: it isolates and admits nothing."""

    direction: Direction

    def __str__(self) -> str:
        return f"it has no {self.direction.field} rule, so it admits nothing"
