"""What the enforcer finds around itself: its capabilities, the node's links and kernel, how bridges hand packets over.

Knows /proc, uname and netlink, and reads only. Knows nothing of what is needed (preflight.py).
Everything is of the network namespace of the calling thread.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from policy_controller.enforcer.interfaces import Link, LinkKind, Place

STATUS: Final = Path("/proc/thread-self/status")
BRIDGE_SETTINGS: Final = Path("/proc/sys/net/bridge")
"""Is there exactly while the module br_netfilter is loaded."""


BRIDGE_CALLS: Final = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
"""One setting a family: 1 when bridges hand its packets to the IP hooks."""

KINDS: Final[Mapping[object, LinkKind]] = {"bridge": LinkKind.BRIDGE, "veth": LinkKind.VETH}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One look around. `capabilities` is CapEff of /proc/PID/status; `bridge_calls` None: br_netfilter is not loaded.

    `release` is the kernel's own word for its version (uname(2)), such as `6.1.0-18-amd64`.
    """

    capabilities: int
    links: tuple[Link, ...]
    bridge_calls: Mapping[str, int] | None
    release: str


def look_around() -> Surroundings:
    """Read everything; raises OSError when /proc or netlink cannot be read."""
    return Surroundings(_capabilities(), _links(), bridge_calls(), os.uname().release)


def _capabilities() -> int:
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return int(line.removeprefix("CapEff:"), 16)
    return 0


def _links() -> tuple[Link, ...]:
    with IPRoute() as route:
        return tuple(sorted(_link(message) for message in route.get_links()))


def _link(message: ifinfmsg) -> Link:
    kind = KINDS.get(message.get(("linkinfo", "kind")), LinkKind.OTHER)
    place = Place.FREE if message.get("master") is None else Place.PORT
    return Link(str(message.get("ifname")), kind, place)


def bridge_calls() -> dict[str, int] | None:
    """What Surroundings has under this name; cheap. Raises OSError."""
    try:
        return {name: int((BRIDGE_SETTINGS / name).read_text(encoding="ascii")) for name in BRIDGE_CALLS}
    except FileNotFoundError:
        return None
