"""The doors of one server: how pods are reached that somebody runs for it.

Knows what whoever plays the kubelet has said. Opens nothing itself.
"""

from collections.abc import Mapping

import msgspec


class Door(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one pod is reached, the pod being the one with this uid.

    `netns` is a network namespace: a name below /run/netns, or a path such as /proc/1234/ns/net; None is the server's
    own. A forwarded port is one of the loopback there, so the server needs CAP_SYS_ADMIN for any but its own.
    `logs` are files, by container: what each has written so far.
    """

    uid: str
    netns: str | None = None
    logs: Mapping[str, str] = {}


class Doors:
    """The doors that are open."""

    def __init__(self) -> None:
        self._doors: dict[str, Door] = {}

    @property
    def all(self) -> tuple[Door, ...]:
        """Every door, in the order of opening."""
        return tuple(self._doors.values())

    def open(self, door: Door) -> None:
        """Say how a pod is reached; what was said of it before holds no more."""
        self._doors[door.uid] = door

    def shut(self, uid: str) -> bool:
        """Forget a door; False when there is none. Connections that are open stay so."""
        return self._doors.pop(uid, None) is not None

    def find(self, uid: str) -> Door | None:
        """The door of a pod; None when nobody has said that it runs."""
        return self._doors.get(uid)
