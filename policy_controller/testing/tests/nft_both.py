"""Both implementations of `Nft` behind one face, for tests that must hold for the fake and for the kernel."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from compilers.nftables.table import Table
from compilers.nftables.transaction import Nft, NftRejectedError, Transaction
from compilers.nftables.words import TableFamily
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.testing.namespaces import PrivateNamespace


class NamespacedNft:
    """The kernel's nftables inside a private network namespace, asked from any thread."""

    def __init__(self, network: PrivateNamespace) -> None:
        self._network = network
        self._nft = LibNft()

    def run(self, transaction: Transaction) -> None:
        self._network.run(partial(self._nft.run, transaction))

    def check(self, transaction: Transaction) -> None:
        self._network.run(partial(self._nft.check, transaction))

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        return self._network.run(partial(self._nft.list_table, family, name))


@contextmanager
def kernel_nft() -> Iterator[Nft]:
    with PrivateNamespace() as network:
        yield NamespacedNft(network)


def outcome(nft: Nft, transaction: Transaction) -> NftRejectedError | None:
    """Run it and return the rejection, or None when it holds."""
    try:
        nft.run(transaction)
    except NftRejectedError as error:
        return error
    return None
