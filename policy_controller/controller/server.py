"""The gRPC servicer: carries what a session says to its node, and the node's answers back.

Knows gRPC and the wire. Knows nothing of policies, or of how a caller is known. Nothing of a stream is read or answered
before its caller is, and it never carries the rule set of another node than the caller's. A stream that breaks a rule is
ended with a status that says which.
"""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from typing import Final
from urllib.parse import unquote

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from policy_controller.clock import Clock, wait_for, within
from policy_controller.controller.bounds import Bound
from policy_controller.controller.crowd import Peer, peer_of
from policy_controller.controller.identity.caller import Caller
from policy_controller.controller.identity.claims import token_in
from policy_controller.controller.identity.refusals import Reason, Unwelcome
from policy_controller.controller.identity.reviewer import Reviewer
from policy_controller.controller.sessions import ACK_SECONDS, UnexpectedReply
from policy_controller.controller.streams import NodeStream, NodeStreams
from policy_controller.logs.restraint import Restraints
from policy_controller.wire import channel
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_node, encode_operator, is_of_unknown_kind
from policy_controller.wire.enforcement_pb2_grpc import EnforcementServicer, add_EnforcementServicer_to_server
from policy_controller.wire.messages import (
    PROTOCOL_VERSION,
    Ack,
    FreshToken,
    Hello,
    Nack,
    NodeMessage,
    OperatorMessage,
    Tampered,
)
from policy_controller.wire.refused import Refused, plain

log = logging.getLogger(__name__)

HELLO_SECONDS: Final = 10.0
"""How long a new stream may take to say hello."""
STREAMS_AT_ONCE: Final = 30.0
STREAMS_EACH_SECOND: Final = 1.0
"""So many streams a node may open at once, and each second from then on: each costs a whole rule set. An enforcer that
cannot stay comes back ever later."""
GRACE_SECONDS: Final = 1.0
"""How long open streams may take to end when the operator stops."""

Requests = AsyncIterator[pb.NodeMessage]
Context = grpc.aio.ServicerContext[pb.NodeMessage, pb.OperatorMessage]


class Ended(Exception):  # noqa: N818 - named for what it says
    """The stream must end; the node is told why."""

    def __init__(self, code: grpc.StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class EnforcementServer(EnforcementServicer):
    """Serves node streams on one address from `start` to `stop`."""

    def __init__(self, streams: NodeStreams, reviewer: Reviewer, clock: Clock) -> None:
        self._streams = streams
        self._reviewer = reviewer
        self._clock = clock
        self._server: grpc.aio.Server | None = None
        self.serving = asyncio.Event()
        """Set once it has begun to listen."""
        self.port = 0
        """Where it listens, once it does."""
        self._counting = threading.Lock()
        self.handshakes = 0
        """TLS handshakes that have begun. gRPC tells of none that a client breaks off because it does not trust us."""
        self.opened = 0
        """Streams that have been opened, whoever opened them."""
        self.ended: Counter[str] = Counter()
        """Streams that were ended for a reason, by status."""
        self.refused: Counter[Reason] = Counter()
        """Those of them whose caller was not, or no longer, to be served."""
        self.nacks: Counter[str] = Counter()
        """By cause."""
        self._peers: Counter[Peer] = Counter()
        self._hear_tampered: list[Callable[[str, Tampered], None]] = []
        self._restraints = Restraints(clock.now)
        self._streams_of = Restraints(clock.now, STREAMS_AT_ONCE, STREAMS_EACH_SECOND)
        """By node."""

    async def start(self, address: channel.HostPort, certificate: Callable[[], channel.Certificate]) -> None:
        """Listen. Raises RuntimeError when the address cannot be bound.

        `certificate` is asked at every handshake, from another thread.
        """

        def shown() -> channel.Certificate:
            with self._counting:
                self.handshakes += 1
            return certificate()

        server = channel.new_server()
        add_EnforcementServicer_to_server(self, server)
        self.port = channel.secure_listen(server, address, shown)
        await server.start()
        self._server = server
        self.serving.set()
        log.info("nodes are served on %s", channel.HostPort(address.host, self.port))

    async def stop(self) -> None:
        """End all streams and listen no more."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(GRACE_SECONDS)

    def subscribe(self, hear: Callable[[str, Tampered], None]) -> None:
        """Call `hear` with each node's name and what it tells of others that change its tables."""
        self._hear_tampered.append(hear)

    @property
    def untold(self) -> int:
        """Lines of the log that were left out, because there were too many of their kind."""
        return self._restraints.ever

    @property
    def peers(self) -> Collection[Peer]:
        """Where known callers have connections now."""
        return tuple(self._peers)

    @property
    def alive(self) -> bool:
        """Whether it is serving."""
        return self._server is not None

    # grpc.aio serves a coroutine that writes as well as a generator; only the former can time its writes.
    async def Enforce(self, request_iterator: Requests, context: Context) -> None:  # type: ignore[override] # noqa: N802 - as above; the name is the protocol's
        """One stream, from who calls to its end."""
        self.opened += 1
        try:
            caller = await self._known(context)
            with self._served(context):
                hello = await self._hello(request_iterator)
                caller.check(hello.node)
                await self._serve(caller, hello, request_iterator, context)
        except Unwelcome as unwelcome:
            self.refused[unwelcome.reason] += 1
            kind, detail = unwelcome.reason.value, unwelcome.detail
            await self._end(context, unwelcome.code, str(unwelcome), kind=kind, detail=detail)
        except Ended as end:
            await self._end(context, end.code, end.reason)
        except DecodeError:
            # gRPC parses while it reads, and would tell of it by a traceback.
            await self._end(context, grpc.StatusCode.INVALID_ARGUMENT, "what was sent is no message")
        except Exception:
            # gRPC would tell the caller of it, whoever that is.
            if self._restraints["error"].allows():
                log.exception("a stream of %s met an error in policy-controller", _peer(context))
            await self._end(context, grpc.StatusCode.INTERNAL, "an error in policy-controller")

    @contextlib.contextmanager
    def _served(self, context: Context) -> Iterator[None]:
        peer = peer_of(unquote(context.peer()))
        if peer is None:
            yield
            return
        self._peers[peer] += 1
        try:
            yield
        finally:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]

    async def _end(
        self, context: Context, code: grpc.StatusCode, reason: str, *, kind: str = "", detail: str = ""
    ) -> None:
        self.ended[code.name] += 1
        # Who has no token can open thousands a second; those of one kind keep no other from being told.
        restraint = self._restraints[kind or code.name]
        if restraint.allows():
            if left_out := restraint.left_out():
                log.warning("%d streams that were ended are left out here: %s", left_out, kind or code.name)
            told = f"{reason}: {detail}" if detail else reason
            log.warning("a stream of %s was ended: %s: %s", _peer(context), code.name, told)
        await context.abort(code, reason)

    async def _known(self, context: Context) -> Caller:
        said = context.invocation_metadata() or ()
        if sum(len(name) + len(value) for name, value in said) > channel.HEADER_BYTES:
            self._reviewer.hits.note(Bound.HEADERS)
            raise Unwelcome(
                Reason.MALFORMED_TOKEN, f"the call's headers have more than {channel.HEADER_BYTES} bytes"
            )
        token = token_in(said)
        node = await self._reviewer.identify(token, _peer(context).rpartition(":")[0])
        if not self._streams_of[node].allows():
            self._reviewer.hits.note(Bound.STREAMS)
            words = f"node {node} opens more than {STREAMS_EACH_SECOND:g} streams a second"
            raise Unwelcome(Reason.TOO_MANY, words)
        return Caller(self._reviewer, token, node, self._clock)

    async def _hello(self, requests: Requests) -> Hello:
        try:
            message = await within(self._clock, HELLO_SECONDS, _first(requests))
        except TimeoutError:
            raise Ended(grpc.StatusCode.DEADLINE_EXCEEDED, f"no hello within {HELLO_SECONDS:.0f} s") from None
        if message is None:
            raise Ended(grpc.StatusCode.INVALID_ARGUMENT, "the stream ended before hello")
        if message.WhichOneof("kind") == "hello" and message.hello.protocol_version != PROTOCOL_VERSION:
            # Before anything else of it is judged: another version may have another idea of the rest.
            reason = (
                f"protocol version {message.hello.protocol_version}; this operator speaks {PROTOCOL_VERSION}"
            )
            raise Ended(grpc.StatusCode.FAILED_PRECONDITION, reason)
        hello = _decoded(message)
        if not isinstance(hello, Hello):
            raise Ended(grpc.StatusCode.FAILED_PRECONDITION, "the first message must be hello")
        return hello

    async def _serve(self, caller: Caller, hello: Hello, requests: Requests, context: Context) -> None:
        node = caller.node
        stream = self._streams.open(node, hello.in_force.stands.pods if hello.in_force is not None else 0)
        log.info("node %s connected from %s", node, _peer(context))
        tasks = (
            asyncio.create_task(self._read(stream, caller, requests), name=f"reader of {node}"),
            asyncio.create_task(caller.stay(), name=f"reviews of {node}"),
        )
        for task in tasks:
            task.add_done_callback(lambda _: stream.wake.set())
        try:
            while not any(task.done() for task in tasks):
                await self._say(stream, context)
            for task in tasks:
                if task.done():
                    # Raises what ended the reading, or the caller's welcome.
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            self._streams.close(stream)
            log.info("node %s disconnected", node)
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _say(self, stream: NodeStream, context: Context) -> None:
        stream.wake.clear()
        now = self._clock.now()
        if stream.closing is not None:
            raise Ended(grpc.StatusCode.ABORTED, stream.closing)
        if stream.session.overdue(now):
            reason = f"generation not answered within {ACK_SECONDS:.0f} s"
            raise Ended(grpc.StatusCode.DEADLINE_EXCEEDED, reason)
        message = stream.session.next(now)
        if message is not None:
            stream.note()
            await self._write(context, await _encoded(message))
        wakes_at = stream.session.wakes_at()
        await wait_for(stream.wake, self._clock, None if wakes_at is None else max(0.0, wakes_at - now))

    async def _write(self, context: Context, message: pb.OperatorMessage) -> None:
        try:
            await within(self._clock, ACK_SECONDS, _written(context, message))
        except TimeoutError:
            reason = f"did not read a message within {ACK_SECONDS:.0f} s"
            raise Ended(grpc.StatusCode.DEADLINE_EXCEEDED, reason) from None

    async def _read(self, stream: NodeStream, caller: Caller, requests: Requests) -> None:
        async for message in requests:
            if is_of_unknown_kind(message):
                self._pass_over(stream.session.node)
                continue
            self._heard(stream, caller, _decoded(message))
            stream.wake.set()

    def _pass_over(self, node: str) -> None:
        # Without its report it is as well enforced: ending its stream would lose more.
        if self._restraints[f"unknown {node}"].allows():
            log.warning("node %s says what this operator does not know: its enforcer is newer", node)

    def _heard(self, stream: NodeStream, caller: Caller, reply: NodeMessage) -> None:
        now = self._clock.now()
        try:
            match reply:
                case Ack():
                    stream.session.acked(reply, now)
                case Nack():
                    self.nacks[reply.cause.value] += 1
                    log.warning(
                        "node %s refused generation %d (%s): %s: %s",
                        stream.session.node,
                        reply.generation,
                        reply.cause.value,
                        plain(reply.object),
                        plain(reply.reason),
                    )
                    stream.session.nacked(reply, now)
                case FreshToken():
                    caller.offer(reply.token)
                case Tampered():
                    self._tampered(stream.session.node, reply)
                case Hello():
                    raise Ended(grpc.StatusCode.FAILED_PRECONDITION, "hello is said once")
        except UnexpectedReply as fault:
            raise Ended(grpc.StatusCode.FAILED_PRECONDITION, str(fault)) from fault
        stream.note()

    def _tampered(self, node: str, report: Tampered) -> None:
        # A node that floods is told of in part, and none of another's goes with it.
        if self._restraints[f"tampered {node}"].allows():
            log.warning(
                "%s (pid %d) changed the tables of node %s %d times; put right",
                report.process,
                report.number,
                node,
                report.times,
            )
        for hear in self._hear_tampered:
            hear(node, report)


def _peer(context: Context) -> str:
    """Where a stream comes from, as `ipv4:192.0.2.1:40404` or `ipv6:[fd00::1]:40404`."""
    return plain(unquote(context.peer()))


async def _first(requests: Requests) -> pb.NodeMessage | None:
    return await anext(requests, None)


async def _written(context: Context, message: pb.OperatorMessage) -> None:
    await context.write(message)


def _decoded(message: pb.NodeMessage) -> NodeMessage:
    try:
        return decode_node(message)
    except Refused as refusal:
        raise Ended(grpc.StatusCode.INVALID_ARGUMENT, str(refusal)) from refusal


async def _encoded(message: OperatorMessage) -> pb.OperatorMessage:
    try:
        return await asyncio.to_thread(encode_operator, message)
    except Refused as refusal:
        # The node keeps what it has. It will be back, and the state may fit then.
        raise Ended(grpc.StatusCode.RESOURCE_EXHAUSTED, f"the rule set does not fit: {refusal}") from refusal
