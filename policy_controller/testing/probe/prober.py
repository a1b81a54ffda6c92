"""The prober: hundreds of probes at a time, their listeners, and what came of each.

Knows timeouts, retransmission and parallelism. How a question is put is the exchanges'; which
packets the network lets through is what callers want to learn.

Why a "timed out" can be trusted without a second round: every probe sends at least two packets (TCP: two
connections), so one lost packet is no verdict; the time is attentive time (attention.py), so a late
process is no verdict; TCP's handshake is the kernel's, and ICMP errors that the kernel keeps for itself
are asked for before the verdict. A second, sequential round would cost a timeout per denied pair, and
would ask the same question the same way.
"""

import asyncio
import errno
import resource
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from policy_controller.testing.laboratory.addresses import Address
from policy_controller.testing.laboratory.neighbours import overflows
from policy_controller.testing.laboratory.netns import LaboratoryError
from policy_controller.testing.probe.attention import AttentiveClock
from policy_controller.testing.probe.conversation import Conversation
from policy_controller.testing.probe.exchanges import Exchange, TcpExchange, UdpExchange
from policy_controller.testing.probe.frames import Capture, send_frame
from policy_controller.testing.probe.listeners import Listener, Listening
from policy_controller.testing.probe.model import (
    Answer,
    Endpoint,
    Outcome,
    Probe,
    ProbeError,
    ProbeResult,
    Transport,
)
from policy_controller.testing.probe.rawexchanges import RawStacks, icmp_exchange, sctp_exchange
from policy_controller.testing.probe.watch import Watch

TIMEOUT: Final = 0.7
"""Attentive seconds until silence is a verdict."""
FIRST_PART: Final = 0.35
"""The part of the timeout after which the second packet is sent."""
PARALLEL: Final = 512
MOST_FILES: Final = 65536


class Prober:
    """Use it as an async context manager; it belongs to the loop that entered it.

    Listeners and probes may be in any namespace of any laboratory, all served by this one process.
    """

    def __init__(self) -> None:
        self._stacks = RawStacks()
        self._open: list[Listening | Conversation | Capture | Watch] = []
        self._clock: AttentiveClock | None = None

    async def __aenter__(self) -> Self:
        _allow_many_files()
        self._clock = AttentiveClock()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in reversed(self._open):
            opened.close()
        self._open.clear()
        self.clock.close()
        self._clock = None

    @property
    def clock(self) -> AttentiveClock:
        """The clock of all timeouts. Raises ProbeError outside of the context."""
        if self._clock is None:
            raise ProbeError("the prober is not entered: use `async with`")
        return self._clock

    def listen(self, listener: Listener) -> Listening:
        """Answer on the listener's ports from now on. Raises ProbeError, e.g. when a port is taken."""
        listening = Listening(listener, self._stacks)
        self._open.append(listening)
        return listening

    async def run(
        self,
        probes: Iterable[Probe],
        *,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - attentive seconds; asyncio.timeout counts the wall's
        parallel: int = PARALLEL,
    ) -> list[ProbeResult]:
        """The result of each probe, in the order of the probes; at most `parallel` are under way at a time.

        `timeout` is in attentive seconds. No probe raises: what cannot be sent is Outcome.ERROR. Raises
        ProbeError if the machine's neighbour table overflowed meanwhile: silence may then mean just that.
        """
        overflowed = overflows()
        asked = tuple(probes)
        results: list[ProbeResult | None] = [None] * len(asked)
        numbers = iter(range(len(asked)))

        async def work() -> None:
            for number in numbers:
                results[number] = await self.ask(asked[number], timeout=timeout)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(parallel, len(asked))):
                group.create_task(work())
        if overflows() > overflowed:
            raise ProbeError(
                "the kernel's neighbour table overflowed: raise net.ipv4.neigh.default.gc_thresh3 and net.ipv6's"
            )
        return [result for result in results if result is not None]

    async def ask(
        self,
        probe: Probe,
        *,
        timeout: float = TIMEOUT,  # noqa: ASYNC109 - attentive seconds; asyncio.timeout counts the wall's
        parts: Sequence[float] = (FIRST_PART, 1 - FIRST_PART),
    ) -> ProbeResult:
        """The result of one probe: a packet at the start of each part of the timeout, then the verdict."""
        loop = asyncio.get_running_loop()
        started = sent_at = time.monotonic()
        connected_at: float | None = None
        repeats = 0
        try:
            exchange = self._exchange(probe)
        except (OSError, LaboratoryError) as error:
            answer = _failure(error)
        else:
            try:
                started, sent_at = loop.time(), time.monotonic()
                answer = await self._exchanged(exchange, [timeout * part for part in parts])
                connected_at, repeats = exchange.connected_at, exchange.repeats
            finally:
                exchange.close()
        ended = loop.time()
        return ProbeResult(
            probe=probe,
            outcome=_judged(probe, answer),
            peer=answer.peer,
            reason=answer.reason,
            sent_at=sent_at,
            elapsed_ms=(ended - started) * 1000,
            connected_ms=None if connected_at is None else (connected_at - started) * 1000,
            repeats=repeats,
        )

    def watch(self, probe: Probe, *, every_ms: float = 5.0, timeout: float = TIMEOUT) -> Watch:
        """Ask again and again, one packet each, until the watch (an async context manager) is left."""
        watch = Watch(lambda: self.ask(probe, timeout=timeout, parts=(1.0,)), every_ms / 1000)
        self._open.append(watch)
        return watch

    async def converse(self, source: Endpoint, destination: Address, port: int) -> Conversation:
        """A TCP connection to a listener that stays open. Raises ProbeError if it does not come about."""
        conversation = Conversation(Probe(source, destination, Transport.TCP, port), self.clock)
        self._open.append(conversation)
        await conversation.open(TIMEOUT)
        return conversation

    def capture(self, namespace: str, interface: str) -> Capture:
        """Every frame that comes in by an interface from now on. Close it, or use it as a context manager."""
        capture = Capture(namespace, interface, self.clock)
        self._open.append(capture)
        return capture

    def send_frame(self, namespace: str, interface: str, frame: bytes) -> None:
        """Send a frame, Ethernet header included, as it is. Raises ProbeError."""
        send_frame(namespace, interface, frame)

    def _exchange(self, probe: Probe) -> Exchange:
        if probe.transport is Transport.TCP:
            return TcpExchange(probe)
        if probe.transport is Transport.UDP:
            return UdpExchange(probe)
        if probe.transport is Transport.SCTP:
            return sctp_exchange(self._stacks, probe)
        return icmp_exchange(self._stacks, probe)

    async def _exchanged(self, exchange: Exchange, waits: Sequence[float]) -> Answer:
        for wait in waits:
            try:
                exchange.send()
            except (OSError, LaboratoryError) as error:
                return _failure(error)
            if await self.clock.answered(exchange.answer, wait):
                return exchange.answer.result()
        return exchange.silence()


def _judged(probe: Probe, answer: Answer) -> Outcome:
    accepted = answer.outcome is Outcome.ACCEPTED
    if accepted and probe.peer is not None and answer.peer is not None and answer.peer != probe.peer:
        return Outcome.WRONG_PEER
    return answer.outcome


def _failure(error: OSError | LaboratoryError) -> Answer:
    if isinstance(error, LaboratoryError):
        return Answer(Outcome.ERROR, reason=str(error))
    return Answer.of_errno(error.errno or errno.EIO)


def _allow_many_files() -> None:
    """Two sockets for each probe, and one for its connection at the listener."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
