"""Whatever somebody made of our tables while no enforcer ran, one that starts gets past it, and brings back what should be."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from compilers.nftables.transaction import Nft, Transaction
from compilers.ruleset.digest import digest_of
from policy_controller.clock import SystemClock
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.enforcer.kernel import Kernel, Occasion
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.session import Generation, Session
from policy_controller.enforcer.tests.states import NODE, WEB_ISOLATED, untold
from policy_controller.enforcer.tests.test_mending import BASE, DESIRED, HARM, WORDS, enforcing, held
from policy_controller.enforcer.tests.there import There
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.testing.namespaces import PrivateNamespace
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import Ack, SnapshotMessage, Stands

SAVED = Generation(5, Stands(10, 10, 10), digest_of(WEB_ISOLATED), WEB_ISOLATED)
SNAPSHOT = encode_operator(SnapshotMessage(1, SAVED.stands, WEB_ISOLATED))
FILES = pytest.mark.parametrize("file", [SAVED, None], ids=["saved", "no file"])
IN_THE_WAY = ("a set declared otherwise", "a chain hung on another hook")
"""What takes the file's word for it at once: where a plan leads, the kernel's word counts until the operator speaks."""
UNPLANNED = "a chain and a map added"
"""A plan does not lead from this: the mending of Tampering replaces the tables."""


@asynccontextmanager
async def started(nft: Nft, file: Generation | None) -> AsyncIterator[Enforcement]:
    """An enforcer that has adopted what it found."""
    clock, metrics = SystemClock(), Metrics()
    kernel = Kernel(nft, FakeConnections(), FakeResidence(), BASE, clock)
    enforcement = Enforcement(kernel, BASE, Session(NODE), UnknownGates(), clock, metrics)
    try:
        await enforcement.adopt(file)
        yield enforcement
    finally:
        kernel.close()


async def enforced(nft: Nft) -> None:
    kernel = Kernel(nft, FakeConnections(), FakeResidence(), BASE, SystemClock())
    await enforcing(kernel)
    kernel.close()


async def gets_past(nft: Nft, file: Generation | None, *, at_once: bool) -> None:
    async with started(nft, file) as enforcement:
        assert enforcement.adopted
        if at_once and file is not None:
            assert held(nft) == untold(WEB_ISOLATED, BASE)
            assert enforcement.trouble is None
        await enforcement.compare(Occasion.SUSPICION)
        enforcement.begin_stream()
        assert await enforcement.receive(SNAPSHOT) == Ack(1, digest_of(WEB_ISOLATED))
        assert held(nft) == DESIRED
        assert enforcement.trouble is None
        assert await enforcement.compare(Occasion.SUSPICION) == ()


@FILES
@pytest.mark.parametrize("harm", sorted(HARM.keys() - {UNPLANNED}))
async def test_an_enforcer_that_starts_on_tables_that_somebody_changed_enforces_again(
    harm: str, file: Generation | None
) -> None:
    nft = FakeNft()
    await enforced(nft)
    nft.run(Transaction(HARM[harm]))
    await gets_past(nft, file, at_once=harm in IN_THE_WAY)


@FILES
@pytest.mark.kernel
@pytest.mark.parametrize("harm", WORDS)
async def test_an_enforcer_that_starts_on_tables_in_words_that_are_not_ours_enforces_again(
    harm: str, file: Generation | None
) -> None:
    with PrivateNamespace() as network:
        nft = There(network)
        await enforced(nft)
        network.run(lambda: subprocess.run(("nft", WORDS[harm]), check=True))  # noqa: S603, S607 - as an administrator would
        await gets_past(nft, file, at_once=harm == "a table that sleeps")
