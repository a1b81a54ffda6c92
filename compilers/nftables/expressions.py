"""What a rule is made of: matches, verdict maps, verdicts and statements, as frozen values.

A value that can be constructed is one that nft 1.0.6 accepts in an inet or bridge table and lists again in the
same form; forms that nft rewrites while listing are refused here, so that what was loaded equals what is read back.
Knows nothing of sets' contents: whether a reference resolves is the table's matter.
"""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from compilers.nftables.words import (
    FIELD_TYPES,
    KEY_WORDS,
    ConntrackState,
    Field,
    InvalidNftError,
    KeyType,
    Scalar,
    checked_interface,
    checked_name,
)

LOG_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
RANGED: Final = frozenset({KeyType.IPV4, KeyType.IPV6, KeyType.SERVICE})
SINGLE_WORDS: Final = frozenset({"local", "broadcast", "dnat", "reply", "syn"})
BITS: Final = frozenset({KeyType.CONNTRACK_STATUS, KeyType.TCP_FLAG})
"""Of these a packet has several at once, and one of them is enough: `!=` would compare them all."""


def checked_scalar(what: str, key: KeyType, value: object) -> None:
    """Raise InvalidNftError unless `value` is one value of `key`; `what` names it in the error."""
    words = KEY_WORDS[key]
    if type(value) is not words.python:
        raise InvalidNftError(what, f"{value!r} is not of type {key.value}")
    if isinstance(value, int) and not 0 <= value <= words.maximum:
        raise InvalidNftError(what, f"{value} is outside 0..{words.maximum}")
    if key is KeyType.INTERFACE:
        checked_interface(str(value))
    elif isinstance(value, str) and value not in SINGLE_WORDS:
        raise InvalidNftError(what, f"{value!r} is not a known {key.value}")


@dataclass(frozen=True, slots=True)
class Range:
    """Addresses or numbers from `first` to `last`, both included. Raises InvalidNftError when empty or mixed."""

    first: IPv4Address | IPv6Address | int
    last: IPv4Address | IPv6Address | int

    def __post_init__(self) -> None:
        """Refuse ends of different types and an end before the start."""
        if type(self.first) is not type(self.last):
            raise InvalidNftError(f"range {self.first}-{self.last}", "its ends are of different types")
        if int(self.first) > int(self.last):
            raise InvalidNftError(f"range {self.first}-{self.last}", "ends before it starts")


def distinct(values: Iterable[Scalar]) -> tuple[Scalar, ...]:
    """Return values sorted, without duplicates and without names that a pattern among them covers.

    nft merges `cali1` into `cali*`. Raises InvalidNftError when the values are of different types.
    """
    given = set(values)
    starts = {one.removesuffix("*") for one in given if isinstance(one, str) and one.endswith("*")}
    kept = {one for one in given if not (isinstance(one, str) and _covered(one, starts))}
    try:
        return tuple(sorted(kept))
    except TypeError:
        raise InvalidNftError("anonymous set", "its values are of different types") from None


def _covered(name: str, starts: set[str]) -> bool:
    own = name.removesuffix("*") if name.endswith("*") else None
    return any(name.startswith(start) and start != own for start in starts)


@dataclass(frozen=True, slots=True)
class AnonymousSet:
    """Two or more values written in the rule itself. Held as `distinct` returns them."""

    values: tuple[Scalar, ...]

    def __post_init__(self) -> None:
        """Sort; refuse a set of one, which nft lists as the value alone."""
        kept = distinct(self.values)
        if len(kept) < 2:
            raise InvalidNftError(
                "anonymous set", "needs two values; nft lists a set of one as the value alone"
            )
        object.__setattr__(self, "values", kept)


@dataclass(frozen=True, slots=True)
class SetReference:
    """`@name`: the elements of a named set of the same table."""

    name: str

    def __post_init__(self) -> None:
        """Check the name."""
        checked_name("set", self.name)


@dataclass(frozen=True, slots=True)
class States:
    """One or more conntrack states; matches when the connection is in any of them."""

    states: frozenset[ConntrackState]

    def __post_init__(self) -> None:
        """Refuse none."""
        if not self.states:
            raise InvalidNftError("ct state", "needs at least one state")


Operand = Scalar | Range | IPv4Network | IPv6Network | AnonymousSet | SetReference | States


class Comparison(enum.Enum):
    """Whether a match wants its operand met or not met. A field that the packet lacks meets neither."""

    EQUAL = ""
    NOT_EQUAL = "!="


def _checked_operand(field: Field, comparison: Comparison, operand: Operand) -> None:
    key = FIELD_TYPES[field]
    match operand:
        case SetReference():
            pass
        case States():
            if key is not KeyType.CONNTRACK or comparison is not Comparison.EQUAL:
                raise InvalidNftError(field.value, "states are matched by `ct state` and without !=")
        case _ if key in BITS and comparison is not Comparison.EQUAL:
            raise InvalidNftError(field.value, "is matched without !=")
        case AnonymousSet() if field is Field.ORIGINAL_PORT:
            raise InvalidNftError(field.value, "nft lists a set of them without its types")
        case AnonymousSet(values):
            for value in values:
                checked_scalar(field.value, key, value)
        case Range(first, last):
            if key not in RANGED or first == last:
                raise InvalidNftError(field.value, "a range is of two addresses or ports that differ")
            checked_scalar(field.value, key, first)
            checked_scalar(field.value, key, last)
        case IPv4Network() | IPv6Network():
            checked_scalar(field.value, key, operand.network_address)
            if operand.prefixlen == operand.max_prefixlen:
                raise InvalidNftError(field.value, f"nft lists {operand} as the address alone")
        case _:
            checked_scalar(field.value, key, operand)


@dataclass(frozen=True, slots=True)
class Match:
    """`FIELD [!=] OPERAND`, or `FIELD . FIELD [!=] @set`. Raises InvalidNftError on types that do not fit."""

    fields: tuple[Field, ...]
    operand: Operand
    comparison: Comparison = Comparison.EQUAL

    def __post_init__(self) -> None:
        """Check the operand against the field; only a named set can be compared with a concatenation."""
        if not self.fields:
            raise InvalidNftError("match", "needs a field")
        if len(self.fields) > 1 and not isinstance(self.operand, SetReference):
            raise InvalidNftError("match", "a concatenation is compared with a named set")
        if len(self.fields) > 1 and Field.ORIGINAL_PORT in self.fields:
            raise InvalidNftError("match", "a port of the original packet is compared by itself")
        _checked_operand(self.fields[0], self.comparison, self.operand)


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """`FIELD [. FIELD] vmap @map`: go where the map says; when it has no such key, on to the next rule."""

    fields: tuple[Field, ...]
    name: str

    def __post_init__(self) -> None:
        """Check the name and that there is a field."""
        checked_name("map", self.name)
        if not self.fields:
            raise InvalidNftError(f"vmap @{self.name}", "needs a field")


class VerdictKind(enum.Enum):
    """What happens to the packet. JUMP comes back to the next rule, GOTO to where its own chain would have."""

    ACCEPT = "accept"
    DROP = "drop"
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verdict; `chain` is given for JUMP and GOTO and for them only."""

    kind: VerdictKind
    chain: str | None = None

    def __post_init__(self) -> None:
        """Check that a target is there exactly when it is needed."""
        if (self.chain is not None) is not (self.kind in (VerdictKind.JUMP, VerdictKind.GOTO)):
            raise InvalidNftError(self.kind.value, "jump and goto name a chain, the others none")
        if self.chain is not None:
            checked_name("chain", self.chain)


ACCEPT: Final = Verdict(VerdictKind.ACCEPT)
DROP: Final = Verdict(VerdictKind.DROP)
RETURN: Final = Verdict(VerdictKind.RETURN)


def jump(chain: str) -> Verdict:
    """Return the verdict that walks `chain` and comes back."""
    return Verdict(VerdictKind.JUMP, chain)


def goto(chain: str) -> Verdict:
    """Return the verdict that walks `chain` and does not come back."""
    return Verdict(VerdictKind.GOTO, chain)


@dataclass(frozen=True, slots=True)
class Counter:
    """`counter`: counts packets and bytes; the numbers are state, not part of the rule."""


class LimitMode(enum.Enum):
    """WITHIN matches while the rate is kept, OVER matches what exceeds it."""

    WITHIN = ""
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Limit:
    """`limit rate [over] N/second burst M packets`."""

    per_second: int
    mode: LimitMode = LimitMode.WITHIN
    burst: int = 5

    def __post_init__(self) -> None:
        """Refuse what is not a positive number."""
        if not (0 < self.per_second < 2**32 and 0 < self.burst < 2**32):
            raise InvalidNftError("limit", "rate and burst are positive 32-bit numbers")


@dataclass(frozen=True, slots=True)
class Log:
    """`log prefix "P" group N snaplen M`: tell an NFLOG listener, with the first `snaplen` bytes."""

    prefix: str
    group: int
    snaplen: int

    def __post_init__(self) -> None:
        """Check alphabet and ranges."""
        if not LOG_PREFIX.fullmatch(self.prefix):
            raise InvalidNftError(f"log prefix {self.prefix!r}", "must be up to 32 of [A-Za-z0-9_-]")
        if not (0 <= self.group <= 65535 and 0 < self.snaplen < 2**32):
            raise InvalidNftError("log", "group is a 16-bit number, snaplen a positive one")


@dataclass(frozen=True, slots=True)
class Reset:
    """`reject with tcp reset`: the sender of a TCP packet is told that its connection has ended; the packet is dropped."""


@dataclass(frozen=True, slots=True)
class AddToSet:
    """`add @name { FIELD [. FIELD] }`: remember the packet's key in a set of kind REMEMBERING."""

    name: str
    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        """Check the name and that there is a field."""
        checked_name("set", self.name)
        if not self.fields:
            raise InvalidNftError(f"add @{self.name}", "needs a field")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A rule that someone else wrote in words this language lacks, as listed. Read, compared, never sent."""

    text: str


Expression = Match | VerdictMap | Verdict | Counter | Limit | Log | Reset | AddToSet | Unreadable
