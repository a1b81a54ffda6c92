"""A table of nft as one value: sets, maps, chains and rules, each in one canonical order.

What can be constructed is legal by itself: names, types, forms. Whether references resolve is `references.py`,
because a table that others have touched is told about, not refused. Knows nothing of pods and policies.
"""

import enum
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from compilers.model.words import PROTOCOLS, Protocol
from compilers.nftables.expressions import (
    AddToSet,
    Comparison,
    Expression,
    Match,
    Range,
    Reset,
    Verdict,
    VerdictMap,
    checked_scalar,
)
from compilers.nftables.words import (
    KEY_WORDS,
    SET_KEYS,
    Field,
    Hook,
    InvalidNftError,
    KeyType,
    TableFamily,
    checked_name,
)

Atom = IPv4Address | IPv6Address | int
Element = Atom | tuple[Atom, ...] | Range
"""Of a set with one key type its value, of a concatenation a tuple, of an interval set always a Range."""

ADDRESS_KEYS = ((KeyType.IPV4,), (KeyType.IPV6,))
FIELDS_OF_IP4 = frozenset({Field.IP_SOURCE, Field.IP_DESTINATION, Field.ORIGINAL_IP_DESTINATION})
FIELDS_OF_IP6 = frozenset(
    {
        Field.IP6_SOURCE,
        Field.IP6_DESTINATION,
        Field.ICMPV6_TYPE,
        Field.HOP_LIMIT,
        Field.ORIGINAL_IP6_DESTINATION,
    }
)
TRANSPORT_FIELDS = frozenset(
    {Field.ANY_PORT, Field.TCP_PORT, Field.TCP_FLAGS, Field.UDP_PORT, Field.SCTP_PORT, Field.ICMPV6_TYPE}
)
TCP = PROTOCOLS[Protocol.TCP].number
HAVE_PORTS = frozenset(one.number for one in PROTOCOLS.values())


def fields_of(expression: Expression) -> tuple[Field, ...]:
    """Return the packet fields that an expression reads."""
    return expression.fields if isinstance(expression, Match | VerdictMap | AddToSet) else ()


@dataclass(frozen=True, slots=True)
class Rule:
    """Expressions from left to right. Raises InvalidNftError for what nft refuses or lists in another form."""

    expressions: tuple[Expression, ...]

    def __post_init__(self) -> None:
        """Refuse both address families in one rule, tests implied by others, and what follows a verdict."""
        if not self.expressions:
            raise InvalidNftError("rule", "is empty")
        for expression in self.expressions[:-1]:
            if isinstance(expression, Verdict | VerdictMap | Reset):
                raise InvalidNftError("rule", "nothing can follow a verdict")
        read = [one for expression in self.expressions for one in fields_of(expression)]
        if FIELDS_OF_IP4.intersection(read) and FIELDS_OF_IP6.intersection(read):
            raise InvalidNftError("rule", "cannot look at ip and ip6 at once")
        alone = [one.fields[0] for one in self.expressions if isinstance(one, Match) and len(one.fields) == 1]
        if len(set(alone)) != len(alone):
            raise InvalidNftError("rule", "compares one field twice; nft may leave one out")
        self._check_transport(read)
        if Field.ORIGINAL_PORT in read:
            self._check_original_port()
        if isinstance(self.expressions[-1], Reset) and Match((Field.PROTOCOL,), TCP) not in self.expressions:
            raise InvalidNftError("rule", "nft puts `meta l4proto tcp` before a reset")

    def _check_transport(self, read: list[Field]) -> None:
        transport = TRANSPORT_FIELDS.intersection(read)
        if len(transport) > 1:
            raise InvalidNftError("rule", "looks at two transport headers")
        for expression in self.expressions:
            match expression:
                case Match((Field.PROTOCOL,), operand, comparison):
                    one = isinstance(operand, int) and comparison is Comparison.EQUAL
                    # `th dport` beside several protocols is the one test that the other does not imply.
                    if transport and (one or transport != {Field.ANY_PORT}):
                        raise InvalidNftError(
                            "rule", "nft leaves out `meta l4proto` beside a header of one protocol"
                        )
                case _:
                    pass

    def _check_original_port(self) -> None:
        for expression in self.expressions:
            match expression:
                case Match((Field.PROTOCOL,), operand, Comparison.EQUAL) if operand in HAVE_PORTS:
                    return
                case Match((Field.ORIGINAL_PORT,)):
                    raise InvalidNftError("rule", "nft takes `ct original proto-dst` after one protocol only")
                case _:
                    pass


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in order. With a hook it is a base chain (filter, priority filter, policy accept)."""

    name: str
    hook: Hook | None
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        """Check the name."""
        checked_name("chain", self.name)


class SetKind(enum.Enum):
    """PLAIN holds values, INTERVAL holds ranges, REMEMBERING is filled by rules and forgets by itself.

    The value is nft's flags, in the order in which it lists them.
    """

    PLAIN = ""
    INTERVAL = "interval"
    REMEMBERING = "dynamic,timeout"


def _checked_key(what: str, key: tuple[KeyType, ...]) -> None:
    if not key or any(part not in SET_KEYS for part in key):
        raise InvalidNftError(what, f"its type is made of {', '.join(one.value for one in SET_KEYS)}")


@dataclass(frozen=True, slots=True)
class SetDeclaration:
    """A named set without its elements.

    `size` is a number of elements, `timeout` is in seconds; a REMEMBERING set has both, the others no timeout.
    """

    name: str
    key: tuple[KeyType, ...]
    kind: SetKind = SetKind.PLAIN
    size: int | None = None
    timeout: int | None = None

    def __post_init__(self) -> None:
        """Check name, key, and that kind, size and timeout fit each other."""
        what = f"set {self.name!r}"
        checked_name("set", self.name)
        _checked_key(what, self.key)
        if self.kind is SetKind.INTERVAL and self.key not in ADDRESS_KEYS:
            raise InvalidNftError(what, "an interval set holds ranges of addresses of one family")
        remembering = self.kind is SetKind.REMEMBERING
        if (self.timeout is not None) is not remembering or (remembering and self.size is None):
            raise InvalidNftError(what, "a remembering set needs size and timeout, no other has a timeout")
        for number in (self.size, self.timeout):
            if number is not None and not 0 < number < 2**32:
                raise InvalidNftError(what, "size and timeout are positive 32-bit numbers")


@dataclass(frozen=True, slots=True)
class MapDeclaration:
    """A named map from a key to a verdict, without its elements."""

    name: str
    key: tuple[KeyType, ...]

    def __post_init__(self) -> None:
        """Check name and key."""
        checked_name("map", self.name)
        _checked_key(f"map {self.name!r}", self.key)


def checked_element(what: str, key: tuple[KeyType, ...], kind: SetKind, element: Element) -> None:
    """Raise InvalidNftError unless `element` fits a set of that key and kind; `what` names the set."""
    if kind is SetKind.INTERVAL:
        if not isinstance(element, Range):
            raise InvalidNftError(what, f"element {element!r} of an interval set is not a Range")
        checked_scalar(what, key[0], element.first)
        checked_scalar(what, key[0], element.last)
        return
    parts = element if isinstance(element, tuple) else (element,)
    if len(parts) != len(key) or (len(key) == 1 and isinstance(element, tuple)):
        raise InvalidNftError(what, f"element {element!r} does not have {len(key)} parts")
    for part_key, part in zip(key, parts, strict=True):
        checked_scalar(what, part_key, part)


def first_overlap(ranges: frozenset[Range]) -> tuple[Range, Range] | None:
    """Return two ranges that share a value, or None."""
    ordered = sorted(ranges, key=lambda one: (int(one.first), int(one.last)))
    for left, right in itertools.pairwise(ordered):
        if int(right.first) <= int(left.last):
            return left, right
    return None


def _plain_addresses(declaration: SetDeclaration, elements: frozenset[Element]) -> bool:
    """Tell whether all elements are of the one address type: peer sets are large, and this is quick."""
    if declaration.key not in ADDRESS_KEYS or declaration.kind is not SetKind.PLAIN:
        return False
    return set(map(type, elements)) <= {KEY_WORDS[declaration.key[0]].python}


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A set and what is in it. What rules remembered is state of the kernel, so a REMEMBERING set holds none."""

    declaration: SetDeclaration
    elements: frozenset[Element] = frozenset()

    def __post_init__(self) -> None:
        """Check every element against the declaration, and that ranges do not overlap."""
        what, kind = f"set {self.declaration.name!r}", self.declaration.kind
        if kind is SetKind.REMEMBERING and self.elements:
            raise InvalidNftError(what, "is filled by rules only")
        if not _plain_addresses(self.declaration, self.elements):
            for element in self.elements:
                checked_element(what, self.declaration.key, kind, element)
        if kind is SetKind.INTERVAL:
            overlap = first_overlap(frozenset(one for one in self.elements if isinstance(one, Range)))
            if overlap is not None:
                raise InvalidNftError(what, f"{overlap[0]} and {overlap[1]} overlap")


@dataclass(frozen=True, slots=True)
class NamedMap:
    """A verdict map and what is in it."""

    declaration: MapDeclaration
    elements: Mapping[Element, Verdict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every key against the declaration."""
        what = f"map {self.declaration.name!r}"
        for element in self.elements:
            checked_element(what, self.declaration.key, SetKind.PLAIN, element)


@dataclass(frozen=True, slots=True)
class TableName:
    """Family and name: what identifies a table in a network namespace."""

    family: TableFamily
    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        checked_name("table", self.name)

    def __str__(self) -> str:
        """Return it as nft spells it: `inet NAME`."""
        return f"{self.family.value} {self.name}"


@dataclass(frozen=True, slots=True)
class Table:
    """A whole table; sets, maps and chains are held sorted by name. Raises InvalidNftError on a name used twice."""

    family: TableFamily
    name: str
    sets: tuple[NamedSet, ...] = ()
    maps: tuple[NamedMap, ...] = ()
    chains: tuple[Chain, ...] = ()

    def __post_init__(self) -> None:
        """Sort, and refuse duplicates (sets and maps share one name space)."""
        checked_name("table", self.name)
        object.__setattr__(self, "sets", tuple(sorted(self.sets, key=lambda one: one.declaration.name)))
        object.__setattr__(self, "maps", tuple(sorted(self.maps, key=lambda one: one.declaration.name)))
        object.__setattr__(self, "chains", tuple(sorted(self.chains, key=lambda one: one.name)))
        named = [one.declaration.name for one in self.sets] + [one.declaration.name for one in self.maps]
        for names, what in ((named, "sets or maps"), ([one.name for one in self.chains], "chains")):
            if len(set(names)) != len(names):
                raise InvalidNftError(f"table {self.name!r}", f"has two {what} of one name")

    @property
    def identity(self) -> TableName:
        """Family and name."""
        return TableName(self.family, self.name)

    def chain(self, name: str) -> Chain:
        """Return the chain of that name; KeyError when there is none."""
        for chain in self.chains:
            if chain.name == name:
                return chain
        raise KeyError(name)
