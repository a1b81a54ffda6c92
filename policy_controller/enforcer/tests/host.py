"""A node for the real process: a network namespace of its own, the real kernel, and an operator that may listen in it."""

import asyncio
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from pathlib import Path
from urllib.error import HTTPError, URLError

from pyroute2 import IPRoute

import nft_templates
from compilers.nftables.base import TABLE, BaseSettings, base_tables
from compilers.nftables.lexer import ReadError
from compilers.nftables.render import Tables
from compilers.nftables.table import TableName
from compilers.nftables.transaction import DeleteTable, Transaction
from compilers.nftables.words import TableFamily
from policy_controller.enforcer.interfaces import detect
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.enforcer.saving import NAME
from policy_controller.enforcer.tests.operator_double import DEADLINE, OperatorDouble, Site, serving
from policy_controller.enforcer.tests.states import NODE
from policy_controller.testing.namespaces import PrivateNamespace
from policy_controller.wire.channel import HostPort
from policy_controller.wire.messages import SnapshotMessage
from policy_controller.wire.saved import decode_saved

PROGRAM = (sys.executable, "-c", "from policy_controller.enforcer.main import main; main()")
BASE = base_tables(
    nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE), BaseSettings(detect(()))
)


MOUNTED = 'mkdir -p "$0" && mount --bind "$0" "$0" && mount -o remount,bind,ro / && exec "$@"'


def contained(state: Path) -> tuple[str, ...]:
    """Before a command: what a container of the manifests may do. Root has the capabilities of its bounding set.

    It may write in the one directory.
    """
    return (
        *("unshare", "--mount", "sh", "-c", MOUNTED, str(state)),
        *("setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", "--no-new-privs"),
    )


SENTENCES = ("nothing was saved", "is in force again", "is what the kernel holds", "is not used")


class Host:
    """A node: a network namespace with loopback, where an operator may listen too, and what is found in it."""

    def __init__(self, network: PrivateNamespace, folder: Path) -> None:
        self.site = Site(folder, HostPort("127.0.0.1", 9473))
        self._network = network
        self._nft = LibNft()
        network.run(self._loopback_up)

    def tables(self) -> Tables | None:
        """Both tables; None while one is not there, or is being made: nft then may list a chain twice."""
        try:
            inet, bridge = (
                self._network.run(partial(self._nft.list_table, family, TABLE)) for family in TableFamily
            )
        except ReadError:
            return None
        return Tables(inet, bridge) if inet is not None and bridge is not None else None

    def operator(self) -> AbstractAsyncContextManager[OperatorDouble]:
        """An operator for the length of the block."""
        return serving(self.site, where=self._network.run)

    def forget(self) -> None:
        """The tables are gone, as when the node restarts."""
        commands = tuple(DeleteTable(TableName(family, TABLE)) for family in TableFamily)
        self._network.run(lambda: self._nft.run(Transaction(commands)))

    def ready(self) -> tuple[int, str]:
        """What /readyz answers on the default address."""
        return self.ask("/readyz")

    def ask(self, path: str) -> tuple[int, str]:
        """What is answered there; status 0: nobody listens."""
        return self._network.run(partial(self._ask, path))

    def saved(self) -> SnapshotMessage | None:
        """What the file holds; None when there is none."""
        try:
            return decode_saved((self.site.state / NAME).read_bytes(), NODE)
        except FileNotFoundError:
            return None

    async def told(self, words: str) -> None:
        """Return when /readyz says so."""
        async with asyncio.timeout(DEADLINE):
            while words not in (await asyncio.to_thread(self.ready))[1]:
                pass

    def start(
        self, *flags: str, before: tuple[str, ...] = (), program: tuple[str, ...] = PROGRAM
    ) -> "subprocess.Popen[str]":
        command = (*before, *program, "--node", NODE, *self.site.flags(), *flags)
        return self._network.run(
            lambda: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - the program under test
        )

    @contextmanager
    def running(
        self, *flags: str, before: tuple[str, ...] = (), program: tuple[str, ...] = PROGRAM
    ) -> Iterator["subprocess.Popen[str]"]:
        process = self.start(*flags, before=before, program=program)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def restored(self) -> tuple[int, str]:
        """What a host unit does: its exit code, and which of its sentences it said last."""
        process = self.start("--restore")
        _, said = process.communicate(timeout=DEADLINE)
        return process.returncode, max(SENTENCES, key=said.rfind)

    def add_pod_link(self) -> None:
        """A veth that stands alone, as on a routed pod network."""
        self._network.run(self._add_veth)

    @staticmethod
    def _add_veth() -> None:
        with IPRoute() as route:
            route.link("add", ifname="veth1", kind="veth", peer={"ifname": "pod0"})

    @staticmethod
    def _loopback_up() -> None:
        with IPRoute() as route:
            route.link("set", index=1, state="up")

    @staticmethod
    def _ask(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:9470{path}", timeout=DEADLINE) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except URLError:
            return 0, ""
