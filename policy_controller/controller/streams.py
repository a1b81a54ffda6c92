"""The streams that are open, one a node, and what a node has missed that comes back.

Knows sessions by node. Knows nothing of gRPC (server.py) or of what is compiled (compile_loop.py).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from compilers.model.words import Address
from policy_controller.controller.identity.dates import Today, today
from policy_controller.controller.moments import Moments
from policy_controller.controller.sessions import Desired, Session, SessionStatus


class NodeStream:
    """A session, and how to tell the task that serves it that something happened."""

    def __init__(self, node: str, today: Today) -> None:
        self.session = Session(node)
        self.moments = Moments(today())
        self._today = today
        self.wake = asyncio.Event()
        self.closing: str | None = None
        """Why the stream must end; None while it may go on."""

    def note(self) -> None:
        """Something was said, answered or desired: what is in force may be another since now."""
        self.moments.note(self.session.status(), self._today())

    def close(self, reason: str) -> None:
        """Make the serving task end the stream."""
        self.closing = reason
        self.wake.set()


REMEMBERED_ADDRESSES: Final = 65_536
"""How many ended addresses are remembered for nodes that come back; the latest are."""


class EndedAddresses:
    """When addresses ceased to be those of their pods: with which version of the pods, as the API counts them."""

    def __init__(self) -> None:
        self._log: deque[tuple[int, frozenset[Address]]] = deque()
        self._size = 0

    def note(self, version: int, addresses: frozenset[Address]) -> None:
        """The state that stands for this version of the pods ended them."""
        self._log.append((version, addresses))
        self._size += len(addresses)
        while self._size > REMEMBERED_ADDRESSES and len(self._log) > 1:
            self._size -= len(self._log.popleft()[1])

    def since(self, version: int) -> frozenset[Address]:
        """What ended, as far as is remembered, after the state that stands for this version; 0 is unknown: nothing."""
        if version == 0:
            return frozenset()
        return frozenset().union(*(addresses for ended_at, addresses in self._log if ended_at > version))


class NodeStreams:
    """All open streams. Belongs to one event loop."""

    def __init__(self, today: Today = today) -> None:
        self._today = today
        self._ended = EndedAddresses()
        self._streams: dict[str, NodeStream] = {}
        self._listeners: list[Callable[[], None]] = []
        self._forgotten = 0
        """Of streams that are closed."""

    @property
    def ended_forgotten(self) -> int:
        """Addresses that ended and that a node was not told of, because it took nothing for too long."""
        return self._forgotten + sum(stream.session.ended_forgotten for stream in self._streams.values())

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a node connects."""
        self._listeners.append(listener)

    def open(self, node: str, pods: int = 0) -> NodeStream:
        """A stream for a node; one that it already has is closed: a node that reconnects may know it to be dead.

        `pods` is the version of the pods that what the node enforces stands for; 0 is unknown.
        """
        before = self._streams.get(node)
        if before is not None:
            before.close("the node has opened another stream")
        stream = self._streams[node] = NodeStream(node, self._today)
        stream.session.note_ended(self._ended.since(pods))
        for listener in self._listeners:
            listener()
        return stream

    def close(self, stream: NodeStream) -> None:
        """The stream has ended."""
        self._forgotten += stream.session.ended_forgotten
        stream.session.ended_forgotten = 0
        if self._streams.get(stream.session.node) is stream:
            del self._streams[stream.session.node]

    def desire(self, node: str, desired: Desired) -> None:
        """What a node should have; nothing happens when it is not connected."""
        stream = self._streams.get(node)
        if stream is not None:
            stream.session.desire(desired)
            stream.note()
            stream.wake.set()

    def note_ended(self, version: int, addresses: frozenset[Address]) -> None:
        """Addresses have ceased to be those of their pods, in the state that stands for this version of the pods.

        Every node is told with what it should have next: any may hold connections of theirs, also one whose rule set
        does not name them.
        """
        if not addresses:
            return
        self._ended.note(version, addresses)
        for stream in self._streams.values():
            stream.session.note_ended(addresses)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Connected nodes, sorted."""
        return tuple(sorted(self._streams))

    def statuses(self) -> Mapping[str, SessionStatus]:
        """What is known of each connected node, sorted."""
        return {node: self._streams[node].session.status() for node in self.nodes}

    def glance(self) -> Mapping[str, tuple[SessionStatus, Moments]]:
        """The same, and since when; what is returned stays as it is."""
        return {
            node: (stream.session.status(), stream.moments.copy())
            for node, stream in sorted(self._streams.items())
        }
