"""The kernel tells who changed our tables, and a fake tells the same."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial

import pytest

from compilers.nftables.table import SetDeclaration, TableName
from compilers.nftables.transaction import (
    AddElements,
    AddSet,
    AddTable,
    Command,
    DeleteTable,
    Nft,
    Transaction,
    install,
)
from compilers.nftables.words import KeyType, TableFamily
from policy_controller.enforcer import commits as commits_module
from policy_controller.enforcer.commits import Author, Commits, KernelCommits, LostError
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.enforcer.netlink import Message, messages
from policy_controller.enforcer.tests.operator_double import DEADLINE
from policy_controller.enforcer.tests.states import base
from policy_controller.testing.fake_commits import TellingNft
from policy_controller.testing.namespaces import PrivateNamespace

BASE = base()
INET, BRIDGE = BASE.inet.identity, BASE.bridge.identity
FOREIGN = TableName(TableFamily.INET, "foreign")
SAME_NAME = TableName(TableFamily.INET, "policy-controller2")
NUMBERS = SetDeclaration("numbers", (KeyType.SERVICE,))


class Place:
    """A kernel, who listens to it, and a way to act on it in another thread."""

    def __init__(
        self, nft: Nft, commits: Commits, elsewhere: Callable[[Callable[[], object]], object]
    ) -> None:
        self.nft = nft
        self.commits = commits
        self._elsewhere = elsewhere

    def commit(self, *commands: Command) -> None:
        self._elsewhere(lambda: self.nft.run(Transaction(commands)))

    def check(self, *commands: Command) -> None:
        self._elsewhere(lambda: self.nft.check(Transaction(commands)))

    def author(self) -> Author:
        said = self._elsewhere(self.commits.author)
        assert isinstance(said, Author)
        return said

    async def told(self) -> list[tuple[Author, frozenset[TableFamily]]]:
        async with asyncio.timeout(DEADLINE):
            return [(one.author, one.tables) for one in await self.commits.next()]


@contextmanager
def fake() -> Iterator[Place]:
    nft = TellingNft()
    with ThreadPoolExecutor(1, "other") as other:
        yield Place(nft, nft, lambda work: other.submit(work).result())


@contextmanager
def real() -> Iterator[Place]:
    with PrivateNamespace() as network, closing(network.run(KernelCommits)) as commits:
        yield Place(LibNft(), commits, network.run)


PLACES = pytest.mark.parametrize("place", [fake, pytest.param(real, marks=pytest.mark.kernel)])


@PLACES
async def test_each_transaction_on_our_tables_is_told_with_who_did_it(
    place: Callable[[], Iterator[Place]],
) -> None:
    with place() as here:  # type: ignore[attr-defined] # contextmanager
        here.commit(*install(BASE.inet).commands, *install(BASE.bridge).commands)
        assert await here.told() == [(here.author(), frozenset(TableFamily))]
        here.commit(AddSet(BRIDGE, NUMBERS))
        assert await here.told() == [(here.author(), frozenset({TableFamily.BRIDGE}))]
        here.commit(AddElements(BRIDGE, NUMBERS.name, (80,)))
        assert await here.told() == [(here.author(), frozenset({TableFamily.BRIDGE}))]
        here.commit(DeleteTable(INET))
        assert await here.told() == [(here.author(), frozenset({TableFamily.INET}))]


@PLACES
async def test_other_tables_checks_and_what_changes_nothing_are_not_told_of(
    place: Callable[[], Iterator[Place]],
) -> None:
    with place() as here:  # type: ignore[attr-defined] # contextmanager
        here.commit(AddTable(BRIDGE), AddSet(BRIDGE, NUMBERS), AddElements(BRIDGE, NUMBERS.name, (80,)))
        await here.told()
        for table in (FOREIGN, SAME_NAME):
            here.commit(AddTable(table), AddSet(table, NUMBERS), AddElements(table, NUMBERS.name, (80,)))
        here.check(DeleteTable(BRIDGE))
        here.commit(AddElements(BRIDGE, NUMBERS.name, (80,)))
        here.commit(DeleteTable(BRIDGE))
        assert await here.told() == [(here.author(), frozenset({TableFamily.BRIDGE}))]
        quiet = asyncio.create_task(here.commits.next())
        await asyncio.wait({quiet}, timeout=0.05)
        assert not quiet.done()
        quiet.cancel()


@pytest.mark.kernel
async def test_what_is_of_other_tables_alone_is_not_even_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_apart: list[bytes] = []

    def watched(received: bytes) -> Iterator[Message]:
        taken_apart.append(received)
        return messages(received)

    monkeypatch.setattr(commits_module, "messages", watched)
    with PrivateNamespace() as network, closing(network.run(KernelCommits)) as commits:
        kernel = LibNft()
        for table in (FOREIGN, BRIDGE):
            many = AddElements(table, NUMBERS.name, tuple(range(1, 1000)))
            network.run(partial(kernel.run, Transaction((AddTable(table), AddSet(table, NUMBERS), many))))
        await asyncio.wait_for(commits.next(), DEADLINE)
    assert taken_apart
    assert not any(FOREIGN.name.encode() in received for received in taken_apart)


@pytest.mark.kernel
async def test_another_process_is_told_by_its_name_and_number() -> None:
    with PrivateNamespace() as network, closing(network.run(KernelCommits)) as commits:
        process = network.run(
            lambda: subprocess.Popen(("nft", "add", "table", "inet", INET.name))  # noqa: S603, S607 - nft of the path, as an administrator calls it
        )
        (commit,) = await asyncio.wait_for(commits.next(), DEADLINE)
        assert process.wait(DEADLINE) == 0
        assert commit.author == Author(process.pid, "nft")
        assert commit.author != network.run(commits.author)


@pytest.mark.kernel
async def test_what_is_lost_is_said_and_listening_goes_on() -> None:
    with PrivateNamespace() as network, closing(network.run(lambda: KernelCommits(room=4096))) as commits:
        kernel = LibNft()
        many = AddElements(BRIDGE, NUMBERS.name, tuple(range(1, 3000)))
        network.run(lambda: kernel.run(Transaction((AddTable(BRIDGE), AddSet(BRIDGE, NUMBERS), many))))
        with pytest.raises(LostError):
            await asyncio.wait_for(commits.next(), DEADLINE)
        network.run(lambda: kernel.run(Transaction((DeleteTable(BRIDGE),))))
        told = await asyncio.wait_for(commits.next(), DEADLINE)
        assert told[-1].tables == {TableFamily.BRIDGE}


@pytest.mark.kernel
async def test_a_name_that_is_made_to_harm_is_fit_to_print() -> None:
    with PrivateNamespace() as network, closing(network.run(KernelCommits)) as commits:
        renamed = (
            "import ctypes, subprocess; ctypes.CDLL(None).prctl(15, b'\\x1b[2J\\n\\xff\"}', 0, 0, 0);"
            "import sys; sys.path.insert(0, '/usr/lib/python3/dist-packages');"
            "import nftables; nftables.Nftables().cmd('add table inet policy-controller')"
        )
        network.run(lambda: subprocess.run((sys.executable, "-c", renamed), check=True))  # noqa: S603 - written above
        (commit,) = await asyncio.wait_for(commits.next(), DEADLINE)
        assert commit.author.name == '\\x1b[2J\\n\\xff"}'
