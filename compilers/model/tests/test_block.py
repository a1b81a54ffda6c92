"""Blocks: arithmetic of ranges against the standard library's networks."""

import ipaddress
import itertools
from os import times

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.block import IpBlock, Range, merge, network_range, subtract
from compilers.model.faults import InvalidField
from compilers.model.words import Address, Family, Network

SMALL = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
RANGES = st.lists(SMALL, max_size=8)


def numbers(ranges: list[Range] | tuple[Range, ...]) -> set[int]:
    return {number for first, last in ranges for number in range(first, last + 1)}


def assert_canonical(ranges: tuple[Range, ...]) -> None:
    assert all(first <= last for first, last in ranges)
    gaps = itertools.pairwise(ranges)
    assert all(earlier[1] + 1 < later[0] for earlier, later in gaps), "disjoint, sorted and not touching"


@given(RANGES)
def test_merged_ranges_hold_the_same_numbers_and_never_touch(ranges: list[Range]) -> None:
    merged = merge(ranges)

    assert numbers(merged) == numbers(ranges)
    assert_canonical(merged)


@given(RANGES, RANGES)
def test_subtracted_ranges_hold_the_numbers_outside_the_holes(
    ranges: list[Range], holes: list[Range]
) -> None:
    left = subtract(ranges, holes)

    assert numbers(left) == numbers(ranges) - numbers(holes)
    assert_canonical(left)


def networks_in(cidr: Network) -> st.SearchStrategy[Network]:
    first, last = network_range(cidr)
    kind = type(cidr)

    def within(prefix: int, number: int) -> Network:
        return kind((number, prefix), strict=False)

    return st.builds(within, st.integers(cidr.prefixlen, cidr.max_prefixlen), st.integers(first, last))


@st.composite
def blocks(draw: st.DrawFn) -> IpBlock:
    base = draw(
        st.sampled_from(
            [
                ipaddress.ip_network(text)
                for text in ("10.0.0.0/24", "0.0.0.0/0", "2001:db8::/120", "::/0", "10.0.0.1/32")
            ]
        )
    )
    return IpBlock(base, tuple(draw(st.lists(networks_in(base), max_size=4))))


@given(blocks(), st.data())
def test_a_block_holds_exactly_the_addresses_that_ipaddress_finds(
    block: IpBlock, data: st.DataObject
) -> None:
    edges = [
        edge + step
        for network in (block.cidr, *block.excepts)
        for edge in network_range(network)
        for step in (-1, 0, 1)
    ]
    number = data.draw(st.sampled_from([edge for edge in edges if 0 <= edge < 2**block.family.bits]))
    kind = ipaddress.IPv4Address if block.family is Family.IPV4 else ipaddress.IPv6Address
    address: Address = kind(number)
    expected = address in block.cidr and not any(address in network for network in block.excepts)

    assert block.contains(address) is expected
    assert any(first <= number <= last for first, last in block.ranges()) is expected
    assert_canonical(block.ranges())


@pytest.mark.parametrize(
    ("cidr", "inside", "other_family"),
    [("0.0.0.0/0", "10.0.0.1", "::ffff:10.0.0.1"), ("::/0", "::1", "0.0.0.1")],
)
def test_everywhere_is_everywhere_of_one_family(cidr: str, inside: str, other_family: str) -> None:
    block = IpBlock(ipaddress.ip_network(cidr))

    assert block.contains(ipaddress.ip_address(inside))
    assert not block.contains(ipaddress.ip_address(other_family))
    assert block.ranges() == ((0, 2**block.family.bits - 1),)


@pytest.mark.parametrize("outside", ["11.0.0.0/8", "0.0.0.0/0", "10.0.0.0/7", "::/8", "9.255.255.255/32"])
def test_an_except_outside_its_cidr_is_refused(outside: str) -> None:
    cidr, inside = ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("10.1.0.0/16")

    with pytest.raises(InvalidField) as refused:
        IpBlock(cidr, (inside, ipaddress.ip_network(outside)))
    assert refused.value.path == ("except", 1)


def test_an_except_of_everything_leaves_nothing() -> None:
    cidr = ipaddress.ip_network("10.0.0.0/8")

    assert IpBlock(cidr, (cidr,)).ranges() == ()


def test_a_hundred_thousand_excepts_are_subtracted_in_one_walk() -> None:
    cidr = ipaddress.IPv4Network("10.0.0.0/8")
    every_other = tuple(
        ipaddress.IPv4Network((int(cidr.network_address) + 64 * index, 28)) for index in range(100_000)
    )
    began = times().user

    ranges = IpBlock(cidr, every_other).ranges()

    assert len(ranges) == 100_000
    # A walk over all ranges for each except takes minutes; one walk takes half a second here.
    assert times().user - began < 20
