"""`expected.yaml`: who may reach whom, one row after the other.

    expectations:
      - from: [shop/web, 203.0.113.9]   # a pod `namespace/name`, an address, or `node/NAME`; or a list of them
        to: shop/db
        port: [5432/TCP, ICMP]          # NUMBER/PROTOCOL or ICMP; or a list of them
        expect: allowed                 # or denied
        family: IPv4                    # optional: only this family; else each that both ends have

Knows the file's form, and reads it strictly: every fault is named with its line. A row stands for every combination of
its ends, services and families. Knows nothing of how a verdict is reached.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final, TypeVar

from compilers.evaluate.decision import Verdict
from compilers.evaluate.traffic import ICMP, Traffic, traffic_between
from compilers.model.cluster import Cluster
from compilers.model.faults import Fault, FieldPath, InvalidField, ObjectRef, Position
from compilers.model.port import check_port_number
from compilers.model.selector import quoted
from compilers.model.words import Address, Family, Protocol, family_of
from compilers.parse.source import Document

T = TypeVar("T")

FIELDS: Final = ("from", "to", "port", "expect", "family")
OPTIONAL: Final = frozenset({"family"})
NODE_PREFIX: Final = "node/"
ICMP_WORD: Final = "ICMP"
_SERVICE: Final = re.compile(r"([0-9]{1,5})/([A-Z]+)")
_FAMILIES: Final[Mapping[str, Family]] = {"IPv4": Family.IPV4, "IPv6": Family.IPV6}


@dataclass(frozen=True, slots=True)
class Expectation:
    """One connection, the verdict it must have, and the row that says so."""

    traffic: Traffic
    verdict: Verdict
    position: Position | None

    def __str__(self) -> str:
        return f"{self.position}: {self.traffic}: {self.verdict.value}"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file says; with faults, the rows that could be read."""

    expectations: tuple[Expectation, ...]
    faults: tuple[Fault, ...]


def read_expectations(document: Document, cluster: Cluster) -> Expected:
    """The expectations of a document about this cluster, in the order of the file. Never raises."""
    reader = _Reader(document, cluster)
    expectations = tuple(reader.rows())
    return Expected(expectations, tuple(reader.faults))


@dataclass(slots=True)
class _Reader:
    """Reads one document; collects the faults of all rows, so that one run shows them all."""

    document: Document
    cluster: Cluster
    faults: list[Fault] = field(default_factory=list)

    def rows(self) -> Iterator[Expectation]:
        root = self.document.value
        if (
            not isinstance(root, dict)
            or set(root) != {"expectations"}
            or not isinstance(root["expectations"], list)
        ):
            self._fault((), "must hold `expectations:`, a list of rows, and nothing else")
            return
        for index, row in enumerate(root["expectations"]):
            before = len(self.faults)
            found = list(self._row(row, ("expectations", index)))
            if not found and len(self.faults) == before:
                self._fault(("expectations", index), "has no two ends with an address family in common")
            yield from found

    def _row(self, row: object, path: FieldPath) -> Iterator[Expectation]:
        if not isinstance(row, dict):
            self._fault(path, f"must be a row of {', '.join(FIELDS)}")
            return
        before = len(self.faults)
        for name in row:
            if name not in FIELDS:
                self._fault((*path, name if isinstance(name, str) else str(name)), "is not a field of a row")
        for name in FIELDS:
            if name not in row and name not in OPTIONAL:
                self._fault(path, f"lacks `{name}`")
        if len(self.faults) > before:
            return
        sources = self._each(row["from"], (*path, "from"), self._end)
        destinations = self._each(row["to"], (*path, "to"), self._end)
        services = self._each(row["port"], (*path, "port"), _service)
        verdict = self._one(row["expect"], (*path, "expect"), _verdict)
        family = self._one(row.get("family"), (*path, "family"), _family)
        if len(self.faults) > before or verdict is None:
            return
        position = self._position(path)
        for protocol, port in services:
            for source, destination in _pairs(sources, destinations, family):
                kind = ICMP[family_of(source)] if protocol is None else protocol
                traffic = traffic_between(self.cluster, source, destination, kind, port)
                yield Expectation(traffic, verdict, position)

    def _each(self, value: object, path: FieldPath, read: Callable[[object], T]) -> list[T]:
        """What `read` makes of a value, or of each item of a list that is not empty."""
        if not isinstance(value, list):
            found = self._one(value, path, read)
            return [] if found is None else [found]
        if not value:
            self._fault(path, "must not be an empty list")
        items = [self._one(item, (*path, index), read) for index, item in enumerate(value)]
        return [item for item in items if item is not None]

    def _one(self, value: object, path: FieldPath, read: Callable[[object], T]) -> T | None:
        try:
            return read(value)
        except InvalidField as fault:
            self._fault(path, fault.reason)
            return None

    def _end(self, value: object) -> tuple[Address, ...]:
        """The addresses at which the end is met."""
        if not isinstance(value, str):
            raise InvalidField("must be `namespace/pod`, `node/NAME` or an address")
        if "/" not in value:
            try:
                return (ip_address(value),)
            except ValueError:
                raise InvalidField(f"{quoted(value)} is neither an address nor `namespace/pod`") from None
        if value.startswith(NODE_PREFIX):
            node = self.cluster.nodes.get(value.removeprefix(NODE_PREFIX))
            found = () if node is None else node.addresses
        else:
            pods = (pod for pod in self.cluster.pods if f"{pod.namespace}/{pod.name}" == value)
            found = next((pod.addresses for pod in pods), ())
        if not found:
            raise InvalidField(f"{quoted(value)} is not in the workloads, or has no address")
        return found

    def _fault(self, path: FieldPath, reason: str) -> None:
        file = ObjectRef("Expectations", "", self.document.file)
        self.faults.append(Fault(file, path, reason, self._position(path)))

    def _position(self, path: FieldPath) -> Position | None:
        while path and path not in self.document.positions:
            path = path[:-1]
        return self.document.positions.get(path)


def _pairs(
    sources: list[tuple[Address, ...]], destinations: list[tuple[Address, ...]], only: Family | None
) -> Iterator[tuple[Address, Address]]:
    for senders in sources:
        for receivers in destinations:
            for sender in senders:
                for receiver in receivers:
                    if family_of(sender) is family_of(receiver) and only in {None, family_of(sender)}:
                        yield sender, receiver


def _service(value: object) -> tuple[Protocol | None, int | None]:
    """Protocol and port; both None for ICMP, whose number depends on the family."""
    if value == ICMP_WORD:
        return None, None
    found = _SERVICE.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[2] not in Protocol.__members__:
        raise InvalidField(f"must be like `5432/TCP` (TCP, UDP or SCTP), or `{ICMP_WORD}`")
    check_port_number(int(found[1]))
    return Protocol(found[2]), int(found[1])


def _verdict(value: object) -> Verdict:
    for verdict in Verdict:
        if value == verdict.value:
            return verdict
    raise InvalidField(f"must be one of {', '.join(verdict.value for verdict in Verdict)}")


def _family(value: object) -> Family | None:
    if value is None:
        return None
    if isinstance(value, str) and value in _FAMILIES:
        return _FAMILIES[value]
    raise InvalidField(f"must be one of {', '.join(_FAMILIES)}")
