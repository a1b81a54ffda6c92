"""Large sets are read as text without a noticeable pause. Here because the pure core may not look at a clock."""

import time
from ipaddress import IPv4Address

from compilers.nftables.reader import read
from compilers.nftables.table import NamedSet, SetDeclaration, Table
from compilers.nftables.words import KeyType, TableFamily
from compilers.nftables.writer import write


def test_fifty_thousand_addresses_are_read_in_well_under_a_second() -> None:
    addresses = frozenset(IPv4Address(0x0A000000 + number) for number in range(50_000))
    table = Table(TableFamily.INET, "t", (NamedSet(SetDeclaration("s", (KeyType.IPV4,)), addresses),))
    text = write(table)

    # Processor time, so that a busy machine does not matter.
    before = time.process_time()
    assert read(text) == table

    assert time.process_time() - before < 0.8
