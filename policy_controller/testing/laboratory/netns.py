"""Named network namespaces: how one is made, entered and its settings written.

Knows setns, unshare and /proc/sys/net. Knows nothing of links, nodes or laboratories.
Namespaces are kept under /run/netns, where `ip netns exec NAME` finds them. OWN is the one that the program was started in:
to be there takes no right, so a program in a container can use what is written for namespaces.
"""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pyroute2 import netns

OWN: Final = ""
NETNS_DIRECTORY: Final = Path("/run/netns")
CLONE_NEWNET: Final = 0x40000000
LIBC: Final = ctypes.CDLL(None, use_errno=True)

QUIET: Final[Mapping[str, str]] = {
    # Addresses are unique by construction: nobody shall wait a second for duplicate detection.
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/router_solicitations": "0",
    # Links.announce asks for it: neighbours learn where an address has moved to.
    "ipv4/conf/default/arp_notify": "1",
    "ipv6/conf/default/ndisc_notify": "1",
    # A refusal told by ICMP must arrive for every probe, not for one a second.
    "ipv4/icmp_ratemask": "0",
    "ipv6/icmp/ratelimit": "0",
    # Routes between nodes are symmetric but outside hosts have many addresses on one link.
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
}
"""Below /proc/sys/net, in every namespace made here."""


class LaboratoryError(Exception):
    """The laboratory cannot do what was asked; the text says in one sentence why and what mends it."""


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """The calling thread, and only it, lives in `namespace` for the length of the block.

    Sockets, child processes and reads of /proc/sys/net made there belong to the namespace for good.
    Never await inside the block: other tasks of the loop would run in the namespace too.
    Raises LaboratoryError if there is no such namespace.
    """
    if namespace == OWN:
        yield
        return
    with _at_home():
        try:
            there = os.open(NETNS_DIRECTORY / namespace, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise LaboratoryError(f"there is no network namespace {namespace}") from None
        try:
            netns.setns(there, flags=0, libc=LIBC)
        finally:
            os.close(there)
        yield


def create(namespace: str) -> None:
    """Make a new network namespace under that name, empty but for QUIET. Raises LaboratoryError."""
    with _at_home():
        if LIBC.unshare(CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise LaboratoryError(f"no network namespace can be made ({reason}): run as root")
        try:
            # thread-self: pyroute2 binds /proc/<pid>/ns/net, which would be the main thread's namespace.
            netns.attach(namespace, "thread-self", libc=LIBC)
        except OSError as error:
            raise LaboratoryError(f"network namespace {namespace} cannot be kept: {error}") from error
        write_settings(QUIET)


def write_settings(settings: Mapping[str, str]) -> None:
    """Write values below /proc/sys/net of the namespace the calling thread is in. Raises LaboratoryError."""
    for name, value in settings.items():
        try:
            (Path("/proc/sys/net") / name).write_text(value)
        except OSError as error:
            raise LaboratoryError(f"net/{name} cannot be set to {value}: {error.strerror}") from error


@contextmanager
def _at_home() -> Iterator[None]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            netns.setns(home, flags=0, libc=LIBC)
        finally:
            os.close(home)


def inode_of(namespace: str) -> int:
    """What tells a namespace from a later one of the same name. Raises LaboratoryError if there is none."""
    try:
        return (NETNS_DIRECTORY / namespace if namespace != OWN else Path("/proc/self/ns/net")).stat().st_ino
    except FileNotFoundError:
        raise LaboratoryError(f"there is no network namespace {namespace}") from None
