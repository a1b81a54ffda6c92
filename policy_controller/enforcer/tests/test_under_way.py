"""What changes verdicts, and that the next transaction waits for the packets that were under way."""

import errno
import platform
import time
from threading import Event, Thread

import pytest

from compilers.nftables import transaction as nft
from compilers.nftables.expressions import DROP, jump
from compilers.nftables.table import MapDeclaration, NamedSet, Rule, SetDeclaration, TableName
from compilers.nftables.words import Hook, KeyType, TableFamily
from policy_controller.enforcer import under_way
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.enforcer.under_way import PacketsUnderWay, changes_verdicts
from policy_controller.testing.namespaces import PrivateNamespace

TABLE = TableName(TableFamily.INET, "t")
SET = nft.AddSet(TABLE, SetDeclaration("s", (KeyType.SERVICE,)))
MAP = nft.AddMap(TABLE, MapDeclaration("m", (KeyType.SERVICE,)))
CHAIN, BASE_CHAIN = nft.AddChain(TABLE, "c"), nft.AddChain(TABLE, "b", Hook.FORWARD)
RULE = nft.AddRule(TABLE, "c", Rule((DROP,)))
ELEMENTS = nft.AddElements(TABLE, "s", (80,))
LEADS = nft.AddElements(TABLE, "m", (nft.MapElement(80, jump("c")),))


@pytest.mark.parametrize(
    ("commands", "changes"),
    [
        ([nft.AddTable(TABLE), SET, MAP, CHAIN], False),
        ([SET, ELEMENTS, CHAIN, RULE], False),
        ([CHAIN, MAP, LEADS], False),
        ([ELEMENTS], True),
        ([CHAIN, LEADS], True),
        ([RULE], True),
        ([SET, nft.AddRule(TABLE, "s", Rule((DROP,)))], True),
        ([CHAIN, nft.AddElements(TABLE, "c", (80,))], True),
        ([BASE_CHAIN], True),
        ([CHAIN, nft.FlushChain(TABLE, "c")], True),
        ([nft.DeleteElements(TABLE, "s", (80,))], True),
        ([nft.DeleteChain(TABLE, "c")], True),
        ([nft.DeleteSet(TABLE, "s")], True),
        ([nft.DeleteTable(TABLE)], True),
    ],
    ids=str,
)
def test_verdicts_change_unless_only_what_is_new_is_filled(
    commands: list[nft.Command], changes: bool
) -> None:
    assert changes_verdicts(nft.Transaction(tuple(commands))) is changes


def test_nothing_is_waited_for_before_anything_has_changed() -> None:
    PacketsUnderWay().wait()


def test_the_wait_ends_when_the_packets_are_through(monkeypatch: pytest.MonkeyPatch) -> None:
    through, waited = Event(), Event()
    monkeypatch.setattr(under_way, "_pass_all", through.wait)
    packets = PacketsUnderWay()

    packets.note()

    def wait() -> None:
        packets.wait()
        waited.set()

    waiting = Thread(target=wait)
    waiting.start()

    assert not waited.is_set()
    through.set()
    waiting.join(timeout=10)
    assert waited.is_set()


@pytest.mark.kernel
def test_the_next_transaction_waits_for_the_packets_of_the_last_that_changed_verdicts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    through = Event()
    monkeypatch.setattr(under_way, "_pass_all", through.wait)
    with PrivateNamespace() as network:
        kernel = network.run(LibNft)

        def run(*commands: nft.Command) -> None:
            kernel.run(nft.Transaction(commands))

        network.run(lambda: run(nft.AddTable(TABLE), CHAIN, SET))
        network.run(lambda: run(RULE))
        third = Thread(target=lambda: network.run(lambda: run(ELEMENTS)))
        third.start()

        third.join(timeout=0.2)
        assert third.is_alive()
        through.set()
        third.join(timeout=10)
        held = network.run(lambda: kernel.list_table(TABLE.family, TABLE.name))
    assert held is not None
    assert held.sets == (NamedSet(SET.declaration, frozenset({80})),)


def test_the_kernel_can_be_asked_here() -> None:
    """Otherwise the tests that flood would wait by the clock, and prove nothing of the call."""
    number = under_way.MEMBARRIER[platform.machine()]
    assert under_way.LIBC.syscall(number, under_way.GLOBAL, 0, 0) == 0


@pytest.mark.parametrize("machine", ["x86_64", "of another kind"])
def test_where_the_kernel_cannot_be_asked_time_has_to_do(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(under_way, "GLOBAL", -errno.EINVAL)
    monkeypatch.setattr(time, "sleep", slept.append)
    packets = PacketsUnderWay()
    packets.note()
    packets.wait()
    assert slept == [under_way.LONG_SECONDS]
