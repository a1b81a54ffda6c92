"""The streams that are open, one a node.

Knows sessions by node. Knows nothing of gRPC (server.py) or of what is compiled (compile_loop.py).
"""

import asyncio
from collections.abc import Callable, Mapping

from policy_controller.controller.sessions import Desired, Session, SessionStatus


class NodeStream:
    """A session, and how to tell the task that serves it that something happened."""

    def __init__(self, node: str) -> None:
        self.session = Session(node)
        self.wake = asyncio.Event()
        self.closing: str | None = None
        """Why the stream must end; None while it may go on."""

    def close(self, reason: str) -> None:
        """Make the serving task end the stream."""
        self.closing = reason
        self.wake.set()


class NodeStreams:
    """All open streams. Belongs to one event loop."""

    def __init__(self) -> None:
        self._streams: dict[str, NodeStream] = {}
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a node connects."""
        self._listeners.append(listener)

    def open(self, node: str) -> NodeStream:
        """A stream for a node; one that it already has is closed: a node that reconnects may know it to be dead."""
        before = self._streams.get(node)
        if before is not None:
            before.close("the node has opened another stream")
        stream = self._streams[node] = NodeStream(node)
        for listener in self._listeners:
            listener()
        return stream

    def close(self, stream: NodeStream) -> None:
        """The stream has ended."""
        if self._streams.get(stream.session.node) is stream:
            del self._streams[stream.session.node]

    def desire(self, node: str, desired: Desired) -> None:
        """What a node should have; nothing happens when it is not connected."""
        stream = self._streams.get(node)
        if stream is not None:
            stream.session.desire(desired)
            stream.wake.set()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Connected nodes, sorted."""
        return tuple(sorted(self._streams))

    def statuses(self) -> Mapping[str, SessionStatus]:
        """What is known of each connected node, sorted."""
        return {node: self._streams[node].session.status() for node in self.nodes}
