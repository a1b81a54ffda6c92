"""A kernel in memory that tells of its transactions, as nftables' notifications do.

Knows which of our tables a transaction changed, by looking before and after. Threads go by the system's own numbers.
"""

import asyncio
import itertools
import threading

from compilers.nftables.base import TABLE
from compilers.nftables.table import Table
from compilers.nftables.transaction import Transaction
from compilers.nftables.words import TableFamily
from policy_controller.enforcer.commits import Author, Commit, LostError
from policy_controller.testing.fake_nft import FakeNft


class TellingNft(FakeNft):
    """Nft and Commits in one. Make it in the event loop in which it is listened to."""

    def __init__(self) -> None:
        """Nothing is there, and nobody has committed anything."""
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[Commit | None] = asyncio.Queue()
        self._generations = itertools.count(1)

    def run(self, transaction: Transaction) -> None:
        """See Nft; tells of it."""
        before = self._ours()
        super().run(transaction)
        after = self._ours()
        changed = frozenset(family for family in TableFamily if before[family] != after[family])
        if changed:
            commit = Commit(next(self._generations), self.author(), changed)
            self._loop.call_soon_threadsafe(self._told.put_nowait, commit)

    def lose(self) -> None:
        """Of some transactions it is only told that they are lost."""
        self._told.put_nowait(None)

    @staticmethod
    def author() -> Author:
        """See Commits."""
        return Author(threading.get_native_id(), threading.current_thread().name)

    async def next(self) -> tuple[Commit, ...]:
        """See Commits."""
        commit = await self._told.get()
        if commit is None:
            raise LostError
        return (commit,)

    def _ours(self) -> dict[TableFamily, Table | None]:
        return {family: self.list_table(family, TABLE) for family in TableFamily}
