"""What enforcement needs of a node, and for each thing that is missing one sentence: what, and how to mend it.

Knows needs. Knows nothing of how the surroundings are read, and asks the kernel only through Nft.
"""

import enum
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from compilers.nftables.base import Base
from compilers.nftables.transaction import Nft, NftRejectedError, Transaction, install
from policy_controller.enforcer.interfaces import pod_bridges
from policy_controller.enforcer.sample import sample_tables
from policy_controller.enforcer.surroundings import BRIDGE_CALLS, Surroundings
from policy_controller.wire.refused import plain

CAP_NET_ADMIN: Final = 12
"""Number of the capability (capability.h)."""

IPVS_LINK: Final = "kube-ipvs0"

OLDEST_KERNEL: Final = (5, 13)
"""The oldest on which Kubernetes itself relies on nftables (kube-proxy's mode of that name); docs/requirements.md."""

RELEASE: Final = re.compile(r"(?P<major>\d{1,4})\.(?P<minor>\d{1,4})(?!\d)")


class Weight(enum.Enum):
    """What a finding means: without FATAL needs nothing can be done; others leave gaps while what can be done is."""

    FATAL = "fatal"
    NOT_READY = "not ready"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is missing, in one sentence for whoever runs the node."""

    weight: Weight
    sentence: str


def findings(surroundings: Surroundings, pod_interfaces: tuple[str, ...]) -> tuple[Finding, ...]:
    """Everything that is missing around the enforcer, in a fixed order; empty when all is well."""
    return tuple(finding for check in CHECKS for finding in check(surroundings, pod_interfaces))


def kernel_findings(nft: Nft, base: Base) -> tuple[Finding, ...]:
    """Whether the kernel would take both tables, with one of each form that rule sets have; nothing is changed."""
    for tables in sample_tables(base):
        commands = (*install(tables.inet).commands, *install(tables.bridge).commands)
        try:
            nft.check(Transaction(commands))
        except NftRejectedError as error:
            return (
                Finding(
                    Weight.FATAL,
                    f"the kernel does not take the tables ({plain(str(error))}): "
                    "load nf_tables and its parts (modprobe nf_tables nft_ct nft_fib_inet nft_limit nft_log) on the node",
                ),
            )
    return ()


def _capability(surroundings: Surroundings, _: tuple[str, ...]) -> Iterator[Finding]:
    if not surroundings.capabilities >> CAP_NET_ADMIN & 1:
        yield Finding(
            Weight.FATAL,
            "CAP_NET_ADMIN is missing: add NET_ADMIN to securityContext.capabilities of the enforcer, or run it as root",
        )


def _kernel(surroundings: Surroundings, _: tuple[str, ...]) -> Iterator[Finding]:
    found = RELEASE.match(surroundings.release)
    if found is None or (int(found["major"]), int(found["minor"])) < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        # Its gates most likely hold. That none leaks while a policy changes was never seen on it.
        yield Finding(
            Weight.NOT_READY,
            f"the kernel is {plain(surroundings.release)}, and {oldest} is the oldest that is supported: "
            "policies are enforced, but nobody has tried whether no packet slips through: upgrade the node's kernel",
        )


def _bridges(surroundings: Surroundings, pod_interfaces: tuple[str, ...]) -> Iterator[Finding]:
    bridges = pod_bridges(surroundings.links, pod_interfaces)
    if not bridges:
        return
    where = f"the pod network is a bridge ({', '.join(map(plain, bridges))})"
    if surroundings.bridge_calls is None:
        yield Finding(
            Weight.NOT_READY,
            f"{where} and br_netfilter is not loaded, so packets between its pods meet no gate: "
            "modprobe br_netfilter on the node, and name it in /etc/modules-load.d",
        )
        return
    for name in BRIDGE_CALLS:
        if surroundings.bridge_calls.get(name) != 1:
            yield Finding(
                Weight.NOT_READY,
                f"{where} and net.bridge.{name} is off, so packets between its pods meet no gate: "
                f"sysctl -w net.bridge.{name}=1 on the node, and set it in /etc/sysctl.d",
            )


def _ipvs(surroundings: Surroundings, _: tuple[str, ...]) -> Iterator[Finding]:
    if any(link.name == IPVS_LINK for link in surroundings.links):
        yield Finding(
            Weight.NOT_READY,
            f"kube-proxy runs in IPVS mode ({IPVS_LINK} is there), where Service packets meet the gates before and after "
            "their addresses are rewritten: set kube-proxy's mode to nftables or iptables and delete the link",
        )


CHECKS: Final[tuple[Callable[[Surroundings, tuple[str, ...]], Iterator[Finding]], ...]] = (
    _capability,
    _kernel,
    _bridges,
    _ipvs,
)
