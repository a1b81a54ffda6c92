"""The language against the kernel: what is loaded is listed in the same words and read back as the same value."""

import subprocess
import time
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given, settings

import nft_templates
from compilers.nftables.base import BaseSettings, base_tables
from compilers.nftables.expressions import DROP, Unreadable
from compilers.nftables.render import render_empty, with_slots
from compilers.nftables.table import Element, Rule, Table, TableName
from compilers.nftables.tests.generated import tables
from compilers.nftables.transaction import (
    AddChain,
    AddElements,
    AddRule,
    AddTable,
    DeleteTable,
    FlushChain,
    Transaction,
    install,
)
from compilers.nftables.words import KEYWORDS, PROTOCOL_NAMES, TableFamily
from compilers.nftables.writer import write
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.testing.namespaces import PrivateNamespace

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def network() -> Iterator[PrivateNamespace]:
    with PrivateNamespace() as namespace:
        yield namespace


def _nft(network: PrivateNamespace, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    # A child process is born into the namespace of the thread that starts it.
    command = ["/usr/sbin/nft", *arguments]

    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed program

    return network.run(start)


PROTOCOL_NUMBERS = {name: str(number) for number, name in PROTOCOL_NAMES.items()}


def _listing(network: PrivateNamespace, table: TableName) -> str:
    found = _nft(network, "-s", "list", "table", *str(table).split())
    assert found.returncode == 0, found.stderr
    return found.stdout


def words(text: str) -> list[str]:
    """The words of a listing. A machine without /etc/protocols lists the numbers of protocols, so names become numbers."""
    return [PROTOCOL_NUMBERS.get(word.rstrip(","), word.rstrip(",")) for word in text.split()]


@given(tables())
@settings(max_examples=60, deadline=None)
def test_what_is_loaded_is_listed_in_the_same_words_and_read_back_equal(
    network: PrivateNamespace, table: Table
) -> None:
    fresh = Transaction((AddTable(table.identity), DeleteTable(table.identity)))
    network.run(lambda: LibNft().run(Transaction((*fresh.commands, *install(table).commands))))

    read_back = network.run(lambda: LibNft().list_table(table.family, table.name))

    assert read_back == table
    assert words(_listing(network, table.identity)) == words(write(table))
    # That listing is of what transaction text made; this one of what the written table made.
    network.run(lambda: LibNft().run(fresh))
    assert _nft(network, "-f", "-", text=write(table)).stderr == ""
    assert words(_listing(network, table.identity)) == words(write(table))


@pytest.mark.parametrize("name", [nft_templates.INET, nft_templates.BRIDGE])
def test_a_template_loads_as_it_stands(network: PrivateNamespace, name: str) -> None:
    checked = _nft(network, "-c", "-f", "-", text=nft_templates.read(name))

    assert (checked.returncode, checked.stderr) == (0, "")


INTERFACES = [("cni0",), ("cni0", "cali*"), ("veth*",), ("a" * 15, "zeta", "br-x.1*")]


@pytest.mark.parametrize("interfaces", INTERFACES)
def test_the_base_is_read_back_as_it_was_installed(
    network: PrivateNamespace, interfaces: tuple[str, ...]
) -> None:
    base = base_tables(
        nft_templates.read(nft_templates.INET),
        nft_templates.read(nft_templates.BRIDGE),
        BaseSettings(interfaces),
    )
    for table in (base.inet, base.bridge):
        network.run(partial(LibNft().run, install(table)))

        assert network.run(partial(LibNft().list_table, table.family, table.name)) == table
        assert words(_listing(network, table.identity)) == words(write(table))


API_SERVERS = [None, (IPv4Address("10.96.0.1"), 443), (IPv6Address("fd00::1"), 6443)]


@pytest.mark.parametrize("api_server", API_SERVERS, ids=str)
@pytest.mark.parametrize("interfaces", INTERFACES)
def test_slots_that_are_closed_are_read_back_as_they_were_filled(
    interfaces: tuple[str, ...],
    api_server: tuple[IPv4Address | IPv6Address, int] | None,
) -> None:
    base = base_tables(
        nft_templates.read(nft_templates.INET),
        nft_templates.read(nft_templates.BRIDGE),
        BaseSettings(interfaces, api_server),
    )
    filled = with_slots(render_empty(base), base.closed_untold).inet
    with PrivateNamespace() as network:
        network.run(partial(LibNft().run, install(filled)))

        assert network.run(partial(LibNft().list_table, filled.family, filled.name)) == filled
        assert words(_listing(network, filled.identity)) == words(write(filled))


def test_installing_again_mends_the_base_and_leaves_slots_and_elements_alone(
    network: PrivateNamespace,
) -> None:
    base = base_tables(
        nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE), BaseSettings()
    ).inet
    name = base.identity
    network.run(lambda: LibNft().run(install(base)))
    touched = Transaction(
        (
            AddRule(name, "link-local", Rule((DROP,))),
            AddElements(name, "known4", (IPv4Address("10.0.0.1"),)),
            FlushChain(name, "forward"),
            AddRule(name, "from-pod", Rule((DROP,))),
        )
    )
    network.run(lambda: LibNft().run(touched))

    network.run(lambda: LibNft().run(install(base)))

    found = network.run(lambda: LibNft().list_table(base.family, base.name))
    assert found is not None
    assert [chain for chain in found.chains if chain.name != "link-local"] == [
        chain for chain in base.chains if chain.name != "link-local"
    ]
    assert found.chain("link-local").rules == (Rule((DROP,)),)
    assert {one.declaration.name: one.elements for one in found.sets}["known4"] == {IPv4Address("10.0.0.1")}


def test_a_strangers_rule_is_listed_as_unreadable(network: PrivateNamespace) -> None:
    table = TableName(TableFamily.INET, "visited")
    network.run(lambda: LibNft().run(Transaction((AddTable(table), AddChain(table, "c")))))
    _nft(network, "add", "rule", "inet", "visited", "c", "udp", "sport", "53", "ct", "mark", "set", "5")

    found = network.run(lambda: LibNft().list_table(table.family, table.name))

    assert found is not None
    (rule,) = found.chain("c").rules
    assert rule.expressions == (Unreadable("udp sport 53 ct mark set 0x00000005"),)


def test_every_keyword_is_one_that_nft_refuses_as_a_name(network: PrivateNamespace) -> None:
    accepted = [
        word
        for word in sorted(KEYWORDS)
        if _nft(network, "-c", "-f", "-", text=f"add table inet k\nadd chain inet k {word}\n").returncode == 0
        and _nft(
            network,
            "-c",
            "-f",
            "-",
            text=f"add table inet k\nadd set inet k {word} {{ type ipv4_addr; }}\nadd chain inet k c\n"
            f"add rule inet k c ip saddr @{word} drop\n",
        ).returncode
        == 0
    ]

    assert accepted == []


def test_a_namespace_is_private(network: PrivateNamespace) -> None:
    table = TableName(TableFamily.INET, "private-to-one")
    network.run(lambda: LibNft().run(Transaction((AddTable(table),))))

    with PrivateNamespace() as other:
        assert other.run(lambda: LibNft().list_table(table.family, table.name)) is None
    assert network.run(lambda: LibNft().list_table(table.family, table.name)) is not None


def test_fifty_thousand_elements_go_in_and_come_back(network: PrivateNamespace) -> None:
    text = "table inet large {\n\tset s {\n\t\ttype ipv4_addr\n\t}\n}\n"
    table = TableName(TableFamily.INET, "large")
    assert _nft(network, "-f", "-", text=text).returncode == 0
    addresses = tuple(ip_network("10.0.0.0/16").hosts())[:50_000]
    elements = tuple(one for one in addresses if isinstance(one, IPv4Address))

    network.run(lambda: LibNft().run(Transaction((AddElements(table, "s", elements),))))

    # The kernel lists a set incompletely while it moves it to a larger hash table.
    deadline = time.monotonic() + 10
    found = _elements(network, table)
    while len(found) < len(elements) and time.monotonic() < deadline:
        found = _elements(network, table)
    assert found == frozenset(elements)


def _elements(network: PrivateNamespace, table: TableName) -> frozenset[Element]:
    found = network.run(lambda: LibNft().list_table(table.family, table.name))
    assert found is not None
    return found.sets[0].elements
