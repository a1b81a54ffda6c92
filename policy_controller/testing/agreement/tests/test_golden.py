"""Golden rule sets: rendering gives their bytes, and fake and kernel hold what they say."""

import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from compilers.nftables.reader import read
from compilers.nftables.render import FRAMES_SLOT, LINK_LOCAL_SLOT, Tables
from compilers.nftables.table import Table
from compilers.nftables.transaction import Nft, install
from compilers.nftables.words import TableFamily
from compilers.nftables.writer import write
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.testing.agreement.tests.golden import (
    DIRECTORY,
    NODE_OF,
    path_of,
    tables_of,
    text_of,
)
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.namespaces import PrivateNamespace

each = pytest.mark.parametrize("example", NODE_OF)


@pytest.fixture
def network() -> Iterator[PrivateNamespace]:
    with PrivateNamespace() as namespace:
        yield namespace


def listed(nft: Nft, tables: Tables) -> tuple[Table | None, ...]:
    return tuple(nft.list_table(table.family, table.name) for table in tables.each())


def load(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["/usr/sbin/nft", *options, "-f", str(path)]
    return subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - a fixed program


@each
def test_rendering_gives_the_golden_bytes(example: str) -> None:
    assert text_of(tables_of(example)) == path_of(example).read_text(), (
        "if the change is meant: python -m policy_controller.testing.agreement.tests.golden"
    )


def test_every_golden_file_belongs_to_an_example() -> None:
    assert sorted(DIRECTORY.glob("*.nft")) == sorted(map(path_of, NODE_OF))


def test_the_doors_are_golden_open_and_shut() -> None:
    slots = [
        (both.inet.chain(LINK_LOCAL_SLOT).rules != (), both.bridge.chain(FRAMES_SLOT).rules != ())
        for both in map(tables_of, NODE_OF)
    ]
    assert set(slots) == {(True, True), (False, False)}


@each
def test_golden_text_is_read_as_the_tables_it_was_written_from(example: str) -> None:
    text = path_of(example).read_text()
    start_of_bridge = text.index(f"table {TableFamily.BRIDGE.value} ")
    assert (read(text[:start_of_bridge]), read(text[start_of_bridge:])) == tables_of(example).each()


@each
def test_the_fake_holds_what_the_golden_text_says(example: str) -> None:
    nft, tables = FakeNft(), tables_of(example)
    for table in tables.each():
        nft.run(install(table))
    held = listed(nft, tables)
    assert "".join(write(table) for table in held if table is not None) == path_of(example).read_text()


@each
@pytest.mark.kernel
def test_the_golden_file_loads_into_the_kernel_and_reads_back_equal(
    network: PrivateNamespace, example: str, record_property: Record
) -> None:
    path, tables = path_of(example), tables_of(example)

    checked = network.run(partial(load, path, "-c"))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert network.run(lambda: listed(LibNft(), tables)) == (None, None), "a check has changed something"
    loaded = network.run(partial(load, path))

    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert network.run(lambda: listed(LibNft(), tables)) == tables.each()
    record_property("golden rule sets loaded into the kernel", 1)
