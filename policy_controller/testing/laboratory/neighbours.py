"""Room in the kernel's neighbour tables, which all namespaces of the machine share.

A pod that cannot learn its neighbour's MAC sends nothing, and that looks like a policy that drops. The
tables hold 1,024 entries by default, and a node of n pods that all talk needs n * n.

Knows two sysctls and two counters of the machine. Knows nothing of namespaces.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from policy_controller.testing.laboratory.netns import LaboratoryError

SETTINGS: Final = (Path("/proc/sys/net/ipv4/neigh/default"), Path("/proc/sys/net/ipv6/neigh/default"))
COUNTERS: Final = (Path("/proc/net/stat/arp_cache"), Path("/proc/net/stat/ndisc_cache"))
OVERFLOWS: Final = "table_fulls"
SPARE: Final = 2


def entries_wanted(pods_of_nodes: Iterable[int], hosts: int) -> int:
    """How many entries of a family it takes if all pods of each node, and all nodes and outside hosts, talk."""
    return sum((pods + 1) ** 2 for pods in pods_of_nodes) + hosts**2


def make_room(wanted: int) -> None:
    """Raise the limits if they are below SPARE times `wanted`; they are never lowered, and stay raised.

    Raises LaboratoryError if they cannot be.
    """
    for directory in SETTINGS:
        try:
            if int((directory / "gc_thresh3").read_text()) < SPARE * wanted:
                (directory / "gc_thresh3").write_text(str(2 * SPARE * wanted))
                (directory / "gc_thresh2").write_text(str(SPARE * wanted))
        except OSError as error:
            setting = directory / "gc_thresh3"
            raise LaboratoryError(
                f"so many pods need {setting} to be {SPARE * wanted}, which cannot be set here: {error.strerror}"
            ) from error


def overflows() -> int:
    """How often an entry found no room since the machine started; 0 where the kernel does not tell."""
    total = 0
    for path in COUNTERS:
        try:
            heading, *processors = path.read_text().splitlines()
        except OSError:
            continue
        column = heading.split().index(OVERFLOWS)
        total += sum(int(line.split()[column], 16) for line in processors)
    return total
