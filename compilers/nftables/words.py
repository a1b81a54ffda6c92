"""nft's own words: families, hooks, key types, fields, symbols, names, and how each is spelled.

Tables only. Knows what nft 1.0.6 prints and accepts; knows nothing of pods, policies or rule sets.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final


class InvalidNftError(ValueError):
    """A value that the nft language, as this project uses it, cannot hold."""

    def __init__(self, what: str, reason: str) -> None:
        """`what` names the object or field, `reason` completes "WHAT: REASON"."""
        super().__init__(f"{what}: {reason}")
        self.what = what
        self.reason = reason


class TableFamily(enum.Enum):
    """Address family of a table: INET sees IPv4 and IPv6 packets, BRIDGE sees frames."""

    INET = "inet"
    BRIDGE = "bridge"


class Hook(enum.Enum):
    """Where a base chain is attached. Always `type filter`, `priority filter`, `policy accept`."""

    FORWARD = "forward"
    INPUT = "input"


class ConntrackState(enum.Enum):
    """`ct state`; members stand in the order in which nft prints them."""

    INVALID = "invalid"
    ESTABLISHED = "established"
    RELATED = "related"
    NEW = "new"
    UNTRACKED = "untracked"


class KeyType(enum.Enum):
    """Data type of a field or of one part of a set's key. The value is nft's name for it."""

    IPV4 = "ipv4_addr"
    IPV6 = "ipv6_addr"
    PROTOCOL = "inet_proto"
    SERVICE = "inet_service"
    INTERFACE = "ifname"
    CONNTRACK = "ct_state"
    CONNTRACK_STATUS = "ct_status"
    CONNTRACK_DIRECTION = "ct_dir"
    TCP_FLAG = "tcp_flag"
    ICMPV6 = "icmpv6_type"
    ETHER = "ether_type"
    ADDRESS_KIND = "fib_addrtype"
    NUMBER = "integer"


Scalar = IPv4Address | IPv6Address | int | str
"""One value: an address, a number (protocol, port, type), or a word (interface pattern, `local`)."""


@dataclass(frozen=True, slots=True)
class KeyWords:
    """How values of a key type look: Python class, largest number, width in bytes, names of numbers."""

    python: type[IPv4Address | IPv6Address | int | str]
    maximum: int
    width: int
    names: Mapping[int, str]


# The names are those that nft prints; those of protocols come from the host's /etc/protocols
# when it prints and are keywords when it reads, so that both directions work without that file.
PROTOCOL_NAMES: Final[Mapping[int, str]] = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "ipv6-icmp",
    132: "sctp",
    136: "udplite",
}
ICMPV6_NAMES: Final[Mapping[int, str]] = {
    1: "destination-unreachable",
    2: "packet-too-big",
    3: "time-exceeded",
    4: "parameter-problem",
    128: "echo-request",
    129: "echo-reply",
    130: "mld-listener-query",
    131: "mld-listener-report",
    132: "mld-listener-done",
    133: "nd-router-solicit",
    134: "nd-router-advert",
    135: "nd-neighbor-solicit",
    136: "nd-neighbor-advert",
    137: "nd-redirect",
    138: "router-renumbering",
    141: "ind-neighbor-solicit",
    142: "ind-neighbor-advert",
    143: "mld2-listener-report",
}
ETHER_NAMES: Final[Mapping[int, str]] = {
    0x0800: "ip",
    0x0806: "arp",
    0x8100: "8021q",
    0x88A8: "8021ad",
    0x86DD: "ip6",
}
NO_NAMES: Final[Mapping[int, str]] = {}

KEY_WORDS: Final[Mapping[KeyType, KeyWords]] = {
    KeyType.IPV4: KeyWords(IPv4Address, 2**32 - 1, 4, NO_NAMES),
    KeyType.IPV6: KeyWords(IPv6Address, 2**128 - 1, 16, NO_NAMES),
    KeyType.PROTOCOL: KeyWords(int, 255, 1, PROTOCOL_NAMES),
    KeyType.SERVICE: KeyWords(int, 65535, 2, NO_NAMES),
    KeyType.INTERFACE: KeyWords(str, 0, 16, NO_NAMES),
    KeyType.CONNTRACK: KeyWords(str, 0, 4, NO_NAMES),
    KeyType.CONNTRACK_STATUS: KeyWords(str, 0, 4, NO_NAMES),
    KeyType.CONNTRACK_DIRECTION: KeyWords(str, 0, 1, NO_NAMES),
    KeyType.TCP_FLAG: KeyWords(str, 0, 1, NO_NAMES),
    KeyType.ICMPV6: KeyWords(int, 255, 1, ICMPV6_NAMES),
    KeyType.ETHER: KeyWords(int, 65535, 2, ETHER_NAMES),
    KeyType.ADDRESS_KIND: KeyWords(str, 0, 4, NO_NAMES),
    KeyType.NUMBER: KeyWords(int, 255, 1, NO_NAMES),
}
# Key types that a named set or map may be made of.
SET_KEYS: Final = (KeyType.IPV4, KeyType.IPV6, KeyType.PROTOCOL, KeyType.SERVICE)


class Field(enum.Enum):
    """What a rule can look at in a packet. The value is nft's phrase for it."""

    IP_SOURCE = "ip saddr"
    IP_DESTINATION = "ip daddr"
    IP6_SOURCE = "ip6 saddr"
    IP6_DESTINATION = "ip6 daddr"
    PROTOCOL = "meta l4proto"
    ANY_PORT = "th dport"
    ANY_SOURCE_PORT = "th sport"
    TCP_PORT = "tcp dport"
    UDP_PORT = "udp dport"
    SCTP_PORT = "sctp dport"
    TCP_FLAGS = "tcp flags"
    IN_INTERFACE = "iifname"
    OUT_INTERFACE = "oifname"
    CONNTRACK_STATE = "ct state"
    CONNTRACK_STATUS = "ct status"
    CONNTRACK_DIRECTION = "ct direction"
    ICMPV6_TYPE = "icmpv6 type"
    ETHER_TYPE = "ether type"
    SOURCE_KIND = "fib saddr type"
    DESTINATION_KIND = "fib daddr type"
    DESTINATION_LINK = "fib daddr oifname"
    HOP_LIMIT = "ip6 hoplimit"
    ORIGINAL_IP_DESTINATION = "ct original ip daddr"
    ORIGINAL_IP6_DESTINATION = "ct original ip6 daddr"
    ORIGINAL_PORT = "ct original proto-dst"


FIELD_TYPES: Final[Mapping[Field, KeyType]] = {
    Field.IP_SOURCE: KeyType.IPV4,
    Field.IP_DESTINATION: KeyType.IPV4,
    Field.IP6_SOURCE: KeyType.IPV6,
    Field.IP6_DESTINATION: KeyType.IPV6,
    Field.PROTOCOL: KeyType.PROTOCOL,
    Field.ANY_PORT: KeyType.SERVICE,
    Field.ANY_SOURCE_PORT: KeyType.SERVICE,
    Field.TCP_PORT: KeyType.SERVICE,
    Field.UDP_PORT: KeyType.SERVICE,
    Field.SCTP_PORT: KeyType.SERVICE,
    Field.TCP_FLAGS: KeyType.TCP_FLAG,
    Field.IN_INTERFACE: KeyType.INTERFACE,
    Field.OUT_INTERFACE: KeyType.INTERFACE,
    Field.CONNTRACK_STATE: KeyType.CONNTRACK,
    Field.CONNTRACK_STATUS: KeyType.CONNTRACK_STATUS,
    Field.CONNTRACK_DIRECTION: KeyType.CONNTRACK_DIRECTION,
    Field.ICMPV6_TYPE: KeyType.ICMPV6,
    Field.ETHER_TYPE: KeyType.ETHER,
    Field.SOURCE_KIND: KeyType.ADDRESS_KIND,
    Field.DESTINATION_KIND: KeyType.ADDRESS_KIND,
    Field.DESTINATION_LINK: KeyType.INTERFACE,
    Field.HOP_LIMIT: KeyType.NUMBER,
    Field.ORIGINAL_IP_DESTINATION: KeyType.IPV4,
    Field.ORIGINAL_IP6_DESTINATION: KeyType.IPV6,
    Field.ORIGINAL_PORT: KeyType.SERVICE,
}

# nft's keywords that fit our alphabet; as a chain or set name each is a syntax error (tried with 1.0.6).
KEYWORDS: Final = frozenset(
    """
    accept add ah all arp auto-merge bridge cgroup chain comment comp constant continue counter cpu
    create ct day dccp define delete describe device devices dnat drop dst dup dynamic ecn element
    elements esp ether exists expires export exthdr fib flags flow flowtable flush frag fwd gc-interval
    get goto handle hbh hook hour ibriport ibrname icmp icmpv6 igmp iif iifgroup iifname iiftype import
    include index inet insert interval ip ip6 ipsec jhash jump limit list ll log map mark masquerade
    meta meter mh missing monitor netdev nftrace nh notrack numgen obriport obrname offload oif oifgroup
    oifname oiftype osf pkttype policy position priority queue quota random redefine redirect reject
    rename replace reset return rt rt0 rt2 rtclassid rule ruleset sctp secmark set size skgid skuid snat
    socket srh symhash synproxy table tcp th time timeout tproxy type typeof udp udplite undefine update
    vlan vmap xt
    """.split()  # noqa: SIM905 - 144 quoted words are harder to compare with nft's list
)
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,254}")
# An interface name (IFNAMSIZ leaves 15 characters), or the start of one followed by `*`.
INTERFACE: Final = re.compile(r"(?=.{1,15}\*?\Z)[A-Za-z0-9_][A-Za-z0-9_.-]*\*?")
INTERFACE_LENGTH: Final = 15


def checked_name(what: str, name: str) -> str:
    """Return `name` if nft takes it for a table, chain, set or map; `what` says which, for the error.

    A letter first, then letters, digits, `_`, `.` and `-`, at most 255 characters, not a keyword of nft.
    Raises InvalidNftError.
    """
    if not NAME.fullmatch(name):
        raise InvalidNftError(f"{what} {name!r}", "must be a letter followed by up to 254 of [A-Za-z0-9_.-]")
    if name in KEYWORDS:
        raise InvalidNftError(f"{what} {name!r}", "is a word of the nft language")
    return name


def checked_interface(pattern: str) -> str:
    """Return `pattern` if it is an interface name of at most 15 characters, optionally ending in `*`.

    Raises InvalidNftError. The kernel would also take spaces and quotes; names that need them are not met on nodes.
    """
    if len(pattern) > INTERFACE_LENGTH or not INTERFACE.fullmatch(pattern):
        raise InvalidNftError(
            f"interface {pattern!r}", "must be up to 15 of [A-Za-z0-9_.-], optionally ending in *"
        )
    return pattern
