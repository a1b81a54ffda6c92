"""A kernel of another network namespace, whoever calls."""

from compilers.nftables.table import Table
from compilers.nftables.transaction import Transaction
from compilers.nftables.words import TableFamily
from policy_controller.enforcer.commits import Author, KernelCommits
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.testing.namespaces import PrivateNamespace


class There:
    """Nft, whose one writer is the thread of the namespace."""

    def __init__(self, network: PrivateNamespace) -> None:
        self._network = network
        self._nft = LibNft()

    def run(self, transaction: Transaction) -> None:
        self._network.run(lambda: self._nft.run(transaction))

    def check(self, transaction: Transaction) -> None:
        self._network.run(lambda: self._nft.check(transaction))

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        return self._network.run(lambda: self._nft.list_table(family, name))

    def author(self) -> Author:
        """The writer, as the kernel tells of it."""
        return self._network.run(KernelCommits.author)
