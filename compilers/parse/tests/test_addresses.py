"""Addresses and CIDRs: every spelling Kubernetes has accepted, from files and from an API server."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.faults import ObjectRef
from compilers.parse.addresses import read_address, read_network
from compilers.parse.field import Field, Findings, Origin

LEFT_OUT = None


def field(origin: Origin) -> Field:
    return Field(None, ("cidr",), Findings(ObjectRef("NetworkPolicy", "shop", "web"), origin, {}))


@pytest.mark.parametrize(
    ("text", "from_file", "from_api", "warns"),
    [
        ("10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8", False),
        ("0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0", False),
        ("2001:DB8::/32", "2001:db8::/32", "2001:db8::/32", False),
        ("::10.0.0.0/104", "::a00:0/104", "::a00:0/104", False),
        # Host bits: the API server accepts them.
        ("10.1.2.3/8", "10.0.0.0/8", "10.0.0.0/8", True),
        ("2001:db8::1/32", "2001:db8::/32", "2001:db8::/32", True),
        # Go's ParseCIDRSloppy reads leading zeros as decimal.
        ("010.0.0.0/8", LEFT_OUT, "10.0.0.0/8", True),
        ("192.168.001.000/24", LEFT_OUT, "192.168.1.0/24", True),
        ("10.0.0.0/08", LEFT_OUT, "10.0.0.0/8", True),
        ("00000.0.0.0/0", LEFT_OUT, "0.0.0.0/0", True),
        ("02001:0db8::/32", LEFT_OUT, "2001:db8::/32", True),
        ("0db8::/16", "db8::/16", "db8::/16", False),
        ("::ffff:010.0.0.0/104", LEFT_OUT, "10.0.0.0/8", True),
        # Go's To4 sees IPv4 in these; with a shorter prefix the mask cuts the ffff that makes it so.
        ("::ffff:10.0.0.0/104", LEFT_OUT, "10.0.0.0/8", True),
        ("::ffff:a00:1/128", LEFT_OUT, "10.0.0.1/32", True),
        ("::ffff:0:0/96", LEFT_OUT, "0.0.0.0/0", True),
        ("::ffff:10.0.0.0/90", "::ffc0:0:0/90", "::ffc0:0:0/90", True),
        ("::/0", "::/0", "::/0", False),
        *(
            (text, LEFT_OUT, LEFT_OUT, False)
            for text in (
                "",
                "10.0.0.1",
                "10.0.0.0/33",
                "::/129",
                "10.0.0.0/",
                "10.0.0.0/-8",
                "10.0.0.0/+8",
                "10.0.0.0/8 ",
                " 10.0.0.0/8",
                "10.0.0.0/8\n",
                "10.0.0.0/255.0.0.0",
                "10.0.0.0/8/8",
                "10.0.0/8",
                "10.0.0.256/8",
                "1.2.3.4.5/8",
                "0x0a.0.0.0/8",
                "167772160/8",
                "fe80::1%eth0/64",
                "fe80::/64%eth0",
                "1:2:3:4:5:6:7::8/64",
                "١٠.0.0.0/8",
                "10.0.0.0/٨",
                "0" * 1000 + ".0.0.0/8",
                "example.com/8",
            )
        ),
    ],
)
def test_cidrs_are_read_strictly_from_files_and_as_go_does_from_an_api_server(
    text: str,
    from_file: str | None,
    from_api: str | None,
    warns: bool,
) -> None:
    for origin, expected in ((Origin.FILE, from_file), (Origin.API, from_api)):
        at = field(origin)
        network = read_network(at, text)

        assert network == (None if expected is None else ipaddress.ip_network(expected))
        assert bool(at.findings.faults) is (expected is None)
        if expected is not None:
            assert bool(at.findings.warnings) is warns
            assert all(warning.path == ("cidr",) for warning in at.findings.warnings)


@pytest.mark.parametrize(
    ("text", "from_file", "from_api"),
    [
        ("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1"),
        ("010.0.0.001", LEFT_OUT, "10.0.0.1"),
        ("::ffff:10.0.0.1", LEFT_OUT, "10.0.0.1"),
        ("fe80::1%eth0", LEFT_OUT, LEFT_OUT),
        ("10.0.0.1/32", LEFT_OUT, LEFT_OUT),
        ("10.0.0.1\n", LEFT_OUT, LEFT_OUT),
        ("pod-1", LEFT_OUT, LEFT_OUT),
    ],
)
def test_addresses_are_read_like_cidrs(text: str, from_file: str | None, from_api: str | None) -> None:
    for origin, expected in ((Origin.FILE, from_file), (Origin.API, from_api)):
        at = field(origin)

        assert read_address(at, text) == (None if expected is None else ipaddress.ip_address(expected))
        assert bool(at.findings.faults) is (expected is None)


@given(st.ip_addresses(), st.integers(0, 128))
def test_canonical_text_is_read_back(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int
) -> None:
    at = field(Origin.API)
    network = ipaddress.ip_network((address, min(length, address.max_prefixlen)), strict=False)

    assert read_address(at, str(address)) in {address, getattr(address, "ipv4_mapped", None)}
    read = read_network(at, str(network))
    assert read == network or (read is not None and read.version < network.version)
    assert not at.findings.faults


@given(st.text(alphabet="0123456789abcdefx:./% \n") | st.text(), st.sampled_from(Origin))
def test_any_text_is_an_address_or_one_fault(text: str, origin: Origin) -> None:
    for read in (read_network, read_address):
        at = field(origin)
        assert (read(at, text) is None) is (len(at.findings.faults) == 1)
