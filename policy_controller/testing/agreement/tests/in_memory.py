"""The whole path from the operator's store to what enforcers acknowledge, in one process, without gRPC and kernels.

Messages cross as bytes. Knows both ends' parts. Knows no policies and no time: the clock is the caller's.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from compilers.compile import Compiler
from policy_controller.clock import Clock
from policy_controller.controller.compile_loop import CompileLoop
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStream, NodeStreams
from policy_controller.enforcer.session import Session
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_node, decode_operator, encode_node, encode_operator
from policy_controller.wire.messages import Ack

DEBOUNCE = 0.02


@dataclass
class Follower:
    """An enforcer's side of one stream; what it acknowledges it has only in memory."""

    stream: NodeStream
    session: Session
    bytes_heard: int = 0
    """Of all messages together."""
    longest: int = 0
    """Bytes of the longest."""

    def follow(self, now: float) -> None:
        """Hear what the operator has to say now, until it has no more, and answer."""
        while (value := self.stream.session.next(now)) is not None:
            content = encode_operator(value).SerializeToString()
            self.bytes_heard += len(content)
            self.longest = max(self.longest, len(content))
            heard = decode_operator(pb.OperatorMessage.FromString(content))
            ack = decode_node(encode_node(self.session.commit(self.session.judge(heard))))
            assert isinstance(ack, Ack)
            self.stream.session.acked(ack, now)


@dataclass
class InMemory:
    """An async context manager: the operator's parts and a follower a node."""

    clock: Clock
    nodes: Iterable[str]
    store: Store = field(default_factory=Store)
    streams: NodeStreams = field(default_factory=NodeStreams)
    rounds: int = 0

    async def __aenter__(self) -> Self:
        self.loop = CompileLoop(self.store, self.streams, self.clock, DEBOUNCE)
        self.loop.subscribe(self._note_round)
        self.store.subscribe(self.loop.wake)
        self.followers = {}
        for node in self.nodes:
            session = Session(node)
            session.begin_stream()
            self.followers[node] = Follower(self.streams.open(node), session)
        synced = asyncio.Event()
        synced.set()
        self._task = asyncio.create_task(self.loop.run(synced))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def follow(self) -> None:
        """Every node hears and answers what is there to hear."""
        for follower in self.followers.values():
            follower.follow(self.clock.now())

    def is_settled(self) -> bool:
        """Whether every node has acknowledged what the store holds."""
        current = all(status.current for status in self.streams.statuses().values())
        return self.loop.revision == self.store.revision and current

    def has_converged(self) -> bool:
        """Whether what each node acknowledged is what the store's objects compile to from scratch."""
        compiler = Compiler(self.store.cluster())
        held = {node: one.session.in_force for node, one in self.followers.items()}
        return all(one is not None and one.rule_set == compiler.node(node) for node, one in held.items())

    def _note_round(self, _: float) -> None:
        self.rounds += 1
