"""kube-proxy at work in one network namespace: the rules for a node's Services, loaded and loaded anew.

Knows the programs that load rules and what they need of the machine. Knows nothing of what the rules say.
"""

import enum
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from typing import Final

from compilers.model.words import Family
from policy_controller.testing.kube_proxy import iptables, nftables
from policy_controller.testing.kube_proxy.services import ProxiedNode, ServicePort
from policy_controller.testing.laboratory import inside

LOCK_SECONDS: Final = 20
"""How long iptables-restore waits for others of its kind: one lock file serves all network namespaces."""


class KubeProxyError(Exception):
    """Rules could not be loaded; the text says by which program, and what it said."""


class RefusedRulesError(KubeProxyError):
    """A program is there, and does not take the rules; the text holds its own words."""


class UnfitKernelError(KubeProxyError):
    """The kernel has no such packet filter."""


class Mode(enum.Enum):
    """How rules get into the kernel; the value is the word used in test names."""

    NFTABLES = "nftables"
    IPTABLES_NFT = "iptables-nft"
    """iptables mode, where the distribution's iptables writes to nf_tables."""
    IPTABLES_LEGACY = "iptables-legacy"
    """iptables mode with the kernel's own ip_tables."""


RESTORE: Final[Mapping[Mode, Mapping[Family, str]]] = {
    Mode.IPTABLES_NFT: {Family.IPV4: "iptables-nft-restore", Family.IPV6: "ip6tables-nft-restore"},
    Mode.IPTABLES_LEGACY: {Family.IPV4: "iptables-legacy-restore", Family.IPV6: "ip6tables-legacy-restore"},
}


class KubeProxy:
    """One kube-proxy for one node, in the network namespace of that node.

    Raises KubeProxyError when a program is missing or refuses the rules, and UnfitKernelError when the kernel lacks the mode.
    """

    def __init__(self, mode: Mode, namespace: str, node: ProxiedNode) -> None:
        self.mode: Final = mode
        self._namespace = namespace
        self._node = node
        self._services: tuple[ServicePort, ...] | None = None

    def sync(self, services: Iterable[ServicePort]) -> None:
        """Rewrite all rules for these Services, in one transaction for each table, as a full sync does."""
        wanted = tuple(services)
        if self.mode is Mode.NFTABLES:
            self._run(["nft", "-f", "-"], nftables.rules(self._node, wanted))
        else:
            self._restore_all(wanted)
        self._services = wanted

    def remove(self) -> None:
        """Remove every rule; in iptables mode everything that the tables filter and nat hold."""
        if self._services is None:
            return
        if self.mode is Mode.NFTABLES:
            self._run(["nft", "-f", "-"], nftables.removal())
        else:
            for family in Family:
                self._restore(family, iptables.removal())
        self._services = None

    def _restore_all(self, services: tuple[ServicePort, ...]) -> None:
        for family in Family:
            if self._services is None:
                self._check_kernel(family)
                self._restore(family, iptables.hooks(), "--noflush")
            rules = iptables.rules(self._node, services, family, before=self._services or ())
            self._restore(family, rules, "--noflush")

    def _check_kernel(self, family: Family) -> None:
        try:
            self._restore(family, iptables.removal(), "--noflush")
        except RefusedRulesError as error:
            raise UnfitKernelError(
                f"the kernel of this machine takes no rules of {self.mode.value} for {family.value}: {error}"
            ) from error

    def _restore(self, family: Family, text: str, *options: str) -> None:
        self._run([RESTORE[self.mode][family], "--wait", str(LOCK_SECONDS), *options], text)

    def _run(self, words: list[str], text: str) -> None:
        if shutil.which(words[0]) is None:
            package = "nftables" if self.mode is Mode.NFTABLES else "iptables"
            raise KubeProxyError(f"the command {words[0]} is missing: install the package {package}")
        with inside(self._namespace):
            done = subprocess.run(words, input=text, text=True, capture_output=True, check=False)  # noqa: S603 - fixed programs
        if done.returncode != 0:
            raise RefusedRulesError(f"{words[0]}: {done.stderr.strip()}")
