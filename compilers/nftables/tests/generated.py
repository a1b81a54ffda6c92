"""Generated tables in the whole of the language, such that every reference resolves and no chain loops."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, Final

from hypothesis import strategies as st

from compilers.nftables.expressions import (
    ACCEPT,
    DROP,
    RETURN,
    AddToSet,
    AnonymousSet,
    Comparison,
    Counter,
    Expression,
    Limit,
    LimitMode,
    Log,
    Match,
    Range,
    Reset,
    SetReference,
    States,
    VerdictMap,
    distinct,
    goto,
    jump,
)
from compilers.nftables.table import (
    Chain,
    Element,
    MapDeclaration,
    NamedMap,
    NamedSet,
    Rule,
    SetDeclaration,
    SetKind,
    Table,
    first_overlap,
)
from compilers.nftables.words import ConntrackState, Field, Hook, InvalidNftError, KeyType, TableFamily

IP4, IP6, PROTOCOL, SERVICE = KeyType.IPV4, KeyType.IPV6, KeyType.PROTOCOL, KeyType.SERVICE
Address = IPv4Address | IPv6Address
ip4: st.SearchStrategy[Address] = st.integers(0, 2**32 - 1).map(IPv4Address)
# Not in ::/96 and ::ffff:0:0/96, which nft lists with a dotted tail: the same address in other words.
ip6: st.SearchStrategy[Address] = st.integers(2**112, 2**128 - 1).map(IPv6Address)
ports = st.integers(0, 65535)
# Not 58: its name is no word of nft, so only a machine with /etc/protocols could load the text.
protocols = st.sampled_from([1, 6, 17, 132, 136, 200])
ATOMS: Final[Mapping[KeyType, st.SearchStrategy[Any]]] = {
    IP4: ip4,
    IP6: ip6,
    PROTOCOL: protocols,
    SERVICE: ports,
}

SETS: Final = (
    SetDeclaration("s4", (IP4,)),
    SetDeclaration("s6-0a.b_c", (IP6,), size=1000),
    SetDeclaration("b4", (IP4,), SetKind.INTERVAL),
    SetDeclaration("b6", (IP6,), SetKind.INTERVAL),
    SetDeclaration("n4", (IP4, PROTOCOL, SERVICE)),
    SetDeclaration("n6", (IP6, PROTOCOL, SERVICE)),
    SetDeclaration("r4", (IP4, SERVICE), SetKind.REMEMBERING, 16384, 90),
    SetDeclaration("c4", (IP4, IP4, PROTOCOL, SERVICE, SERVICE), SetKind.REMEMBERING, 262144, 86400),
)
MAPS: Final = (
    MapDeclaration("m4", (IP4,)),
    MapDeclaration("m6", (IP6,)),
    MapDeclaration("mp", (PROTOCOL, SERVICE)),
)
CHAINS: Final = ("base", "a", "b", "c-0a1b", "d")
"""The first is the base chain; rules lead to later ones only, elements of maps to the last."""


def _range(ends: tuple[Address, Address]) -> Range:
    return Range(min(ends, key=int), max(ends, key=int))


def _network(pair: tuple[Address, int]) -> IPv4Network | IPv6Network:
    return ip_network(pair, strict=False)


def elements(declaration: SetDeclaration | MapDeclaration) -> st.SearchStrategy[Element]:
    if isinstance(declaration, SetDeclaration) and declaration.kind is SetKind.INTERVAL:
        atoms = ATOMS[declaration.key[0]]
        prefixes = st.tuples(atoms, st.integers(0, 32)).map(_network)
        return st.one_of(
            st.tuples(atoms, atoms).map(_range),
            prefixes.map(lambda net: Range(net[0], net[-1])),
            atoms.map(lambda a: Range(a, a)),
        )
    if len(declaration.key) == 1:
        return ATOMS[declaration.key[0]]
    return st.tuples(*(ATOMS[part] for part in declaration.key))


def _disjoint(declaration: SetDeclaration, found: frozenset[Element]) -> frozenset[Element]:
    if declaration.kind is not SetKind.INTERVAL:
        return found
    kept: frozenset[Range] = frozenset()
    for one in sorted((one for one in found if isinstance(one, Range)), key=repr):
        if first_overlap(kept | {one}) is None:
            kept |= {one}
    return frozenset(kept)


@st.composite
def named_sets(draw: st.DrawFn, declaration: SetDeclaration) -> NamedSet:
    if declaration.kind is SetKind.REMEMBERING:
        return NamedSet(declaration)
    return NamedSet(
        declaration, _disjoint(declaration, draw(st.frozensets(elements(declaration), max_size=5)))
    )


@st.composite
def named_maps(draw: st.DrawFn, declaration: MapDeclaration) -> NamedMap:
    verdicts = st.sampled_from([ACCEPT, DROP, RETURN, jump(CHAINS[-1]), goto(CHAINS[-1])])
    return NamedMap(declaration, draw(st.dictionaries(elements(declaration), verdicts, max_size=4)))


comparisons = st.sampled_from(Comparison)
BOTH_PORTS: Final = (Field.ANY_SOURCE_PORT, Field.ANY_PORT)
PORT_FIELDS: Final = (Field.ANY_PORT, Field.TCP_PORT, Field.UDP_PORT, Field.SCTP_PORT)
interfaces = st.sampled_from(["cni0", "eth1", "br-a", "zeta", "cali123", "cali*", "a", "veth*", "x.100"])
interface_operands = st.one_of(
    interfaces,
    st.sets(interfaces, min_size=2, max_size=5)
    .filter(lambda found: len(distinct(found)) > 1)
    .map(lambda found: AnonymousSet(tuple(found))),
)


def _addresses(
    field: Field,
    atoms: st.SearchStrategy[Address],
    sets: tuple[str, str],
) -> st.SearchStrategy[Match]:
    operands = st.one_of(
        atoms,
        st.tuples(atoms, atoms).filter(lambda pair: pair[0] != pair[1]).map(_range),
        st.tuples(atoms, st.integers(1, 31)).map(_network),
        st.sets(atoms, min_size=2, max_size=4).map(lambda s: AnonymousSet(tuple(s))),
        st.sampled_from(sets).map(SetReference),
    )
    return st.builds(Match, st.just((field,)), operands, comparisons)


def _numbers(field: Field, numbers: st.SearchStrategy[int]) -> st.SearchStrategy[Match]:
    operands = st.one_of(
        numbers, st.sets(numbers, min_size=2, max_size=4).map(lambda s: AnonymousSet(tuple(s)))
    )
    return st.builds(Match, st.just((field,)), operands, comparisons)


before_reset: st.SearchStrategy[Expression] = st.sampled_from(
    [Match((Field.CONNTRACK_STATE,), States(frozenset({ConntrackState.NEW}))), Counter()]
)
resets: st.SearchStrategy[list[Expression]] = st.lists(before_reset, max_size=2, unique=True).map(
    lambda before: [*before, Match((Field.PROTOCOL,), 6), Reset()]
)
original_ports: st.SearchStrategy[list[Expression]] = st.tuples(
    st.sampled_from([6, 17, 132]).map(lambda number: Match((Field.PROTOCOL,), number)),
    st.builds(
        Match,
        st.just((Field.ORIGINAL_PORT,)),
        st.one_of(
            ports, st.tuples(st.integers(0, 999), st.integers(1000, 65535)).map(lambda pair: Range(*pair))
        ),
        comparisons,
    ),
).map(list)
inet_matches: st.SearchStrategy[Expression] = st.one_of(
    _addresses(Field.IP_SOURCE, ip4, ("s4", "b4")),
    _addresses(Field.IP_DESTINATION, ip4, ("s4", "b4")),
    _addresses(Field.IP6_SOURCE, ip6, ("s6-0a.b_c", "b6")),
    _addresses(Field.IP6_DESTINATION, ip6, ("s6-0a.b_c", "b6")),
    _addresses(Field.ORIGINAL_IP_DESTINATION, ip4, ("s4", "b4")),
    _addresses(Field.ORIGINAL_IP6_DESTINATION, ip6, ("s6-0a.b_c", "b6")),
    _numbers(Field.PROTOCOL, protocols),
    st.sampled_from(PORT_FIELDS).flatmap(lambda field: _numbers(field, ports)),
    st.builds(
        Match,
        st.sampled_from(PORT_FIELDS).map(lambda field: (field,)),
        st.tuples(st.integers(0, 999), st.integers(1000, 65535)).map(lambda pair: Range(*pair)),
        comparisons,
    ),
    st.builds(
        Match,
        st.just((Field.IP_DESTINATION, Field.PROTOCOL, Field.ANY_PORT)),
        st.just(SetReference("n4")),
        comparisons,
    ),
    st.builds(
        Match,
        st.just((Field.IP6_DESTINATION, Field.PROTOCOL, Field.ANY_PORT)),
        st.just(SetReference("n6")),
        comparisons,
    ),
    st.builds(Match, st.just((Field.IP_SOURCE, Field.ANY_PORT)), st.just(SetReference("r4")), comparisons),
    st.builds(
        Match,
        st.sampled_from([(Field.IN_INTERFACE,), (Field.OUT_INTERFACE,), (Field.DESTINATION_LINK,)]),
        interface_operands,
        comparisons,
    ),
    st.builds(
        Match,
        st.just((Field.CONNTRACK_STATE,)),
        st.frozensets(st.sampled_from(ConntrackState), min_size=1).map(States),
    ),
    st.just(Match((Field.CONNTRACK_STATUS,), "dnat")),
    st.just(Match((Field.TCP_FLAGS,), "syn")),
    st.builds(Match, st.just((Field.CONNTRACK_DIRECTION,)), st.just("reply"), comparisons),
    st.builds(
        Match,
        st.sampled_from(
            [
                (Field.IP_SOURCE, Field.IP_DESTINATION, Field.PROTOCOL, *BOTH_PORTS),
                (Field.IP_DESTINATION, Field.IP_SOURCE, Field.PROTOCOL, *reversed(BOTH_PORTS)),
            ]
        ),
        st.just(SetReference("c4")),
        comparisons,
    ),
    _numbers(Field.ICMPV6_TYPE, st.integers(0, 255)),
    st.builds(Match, st.just((Field.SOURCE_KIND,)), st.just("local"), comparisons),
    st.builds(Match, st.just((Field.DESTINATION_KIND,)), st.just("broadcast"), comparisons),
)
bridge_matches: st.SearchStrategy[Expression] = st.one_of(
    _numbers(
        Field.ETHER_TYPE, st.sampled_from([0x0800, 0x0806, 0x8100, 0x88A8, 0x86DD, 0x8863, 0x0600, 0x0005])
    ),
    st.builds(
        Match,
        st.sampled_from([(Field.IN_INTERFACE,), (Field.OUT_INTERFACE,)]),
        interface_operands,
        comparisons,
    ),
)
statements: st.SearchStrategy[Expression] = st.one_of(
    st.builds(Counter),
    st.builds(Limit, st.integers(1, 10**6), st.sampled_from(LimitMode), st.integers(1, 10**6)),
    st.builds(Log, st.sampled_from(["E", "IF", "a-b_C"]), st.integers(0, 65535), st.integers(1, 2000)),
)
inet_ends: st.SearchStrategy[Expression] = st.sampled_from(
    [
        VerdictMap((Field.IP_SOURCE,), "m4"),
        VerdictMap((Field.IP6_DESTINATION,), "m6"),
        VerdictMap((Field.PROTOCOL, Field.ANY_PORT), "mp"),
        AddToSet("r4", (Field.IP_SOURCE, Field.ANY_PORT)),
    ]
)


def _rule_or_none(expressions: list[Expression]) -> Rule | None:
    try:
        return Rule(tuple(expressions))
    except InvalidNftError:
        return None


@st.composite
def rules(draw: st.DrawFn, family: TableFamily, later: tuple[str, ...]) -> Rule:
    verdicts = [ACCEPT, DROP, RETURN, *(jump(one) for one in later), *(goto(one) for one in later)]
    ends: st.SearchStrategy[Expression] = st.sampled_from(verdicts)
    matches = st.lists(bridge_matches, max_size=3)
    if family is TableFamily.INET:
        ends = st.one_of(ends, inet_ends) if later else ends
        matches = st.one_of(st.lists(inet_matches, max_size=3), original_ports)
    parts = st.tuples(
        matches,
        st.lists(statements, max_size=2, unique_by=type),
        st.lists(ends, max_size=1),
    )
    whole = parts.map(lambda lists: [*lists[0], *lists[1], *lists[2]])
    if family is TableFamily.INET:
        whole = st.one_of(whole, whole, resets)
    found = draw(whole.map(_rule_or_none).filter(lambda rule: rule is not None))
    assert found is not None
    return found


@st.composite
def tables(draw: st.DrawFn, family: TableFamily | None = None) -> Table:
    chosen = family or draw(st.sampled_from(TableFamily))
    chains = [
        Chain(
            name,
            Hook.FORWARD if place == 0 else None,
            tuple(draw(st.lists(rules(chosen, CHAINS[place + 1 :]), max_size=4))),
        )
        for place, name in enumerate(CHAINS)
    ]
    return Table(
        chosen,
        "generated",
        tuple(draw(named_sets(one)) for one in SETS),
        tuple(draw(named_maps(one)) for one in MAPS),
        tuple(chains),
    )
