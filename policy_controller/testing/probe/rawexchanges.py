"""One question and its answer over SCTP or ICMP, on a stack that all probes of a namespace share.

Knows one probe at a time, and which stacks are in use. Knows nothing of timeouts.
"""

import asyncio
import secrets
from collections.abc import Hashable
from typing import Final, TypeVar

from policy_controller.testing.laboratory.netns import inode_of
from policy_controller.testing.probe.model import Answer, Outcome, Probe, ProbeError
from policy_controller.testing.probe.packets import Chunk, Echo, SctpPacket
from policy_controller.testing.probe.sockets import without_scope
from policy_controller.testing.probe.stacks import IcmpStack, RawStack, SctpStack

S = TypeVar("S", SctpStack, IcmpStack)
SILENCE: Final = Answer(Outcome.TIMED_OUT, reason="no answer")


class RawStacks:
    """The stacks in use, each made for its first user and closed after its last."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[int, int, type[RawStack]], RawStack] = {}

    def lend(self, kind: type[S], namespace: str, version: int) -> S:
        """The stack of that namespace and IP version; give it back. Raises OSError, LaboratoryError."""
        # By inode: a namespace of the same name may be another one, made for another pod.
        key = (inode_of(namespace), version, kind)
        stack = self._stacks.get(key)
        if not isinstance(stack, kind):
            stack = kind(namespace, version)
            self._stacks[key] = stack
        stack.users += 1
        return stack

    def give_back(self, stack: RawStack) -> None:
        """Undo one `lend`."""
        stack.users -= 1
        if stack.users == 0:
            stack.close()
            self._stacks = {key: used for key, used in self._stacks.items() if used is not stack}


class RawExchange:
    """A packet that is sent as often as asked, and the answer awaited under its key."""

    connected_at: float | None = None
    repeats: int = 0

    def __init__(
        self, stacks: RawStacks, stack: RawStack, probe: Probe, key: Hashable, packet: bytes
    ) -> None:
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._stacks = stacks
        self._stack = stack
        self._probe = probe
        self._key = key
        self._packet = packet
        stack.expect(key, self.answer)

    def send(self) -> None:
        """Send the same packet, as a stack's retransmission does."""
        self._stack.send(self._packet, self._probe.source.address, self._probe.destination)

    def silence(self) -> Answer:
        """Nothing came back, not even an error."""
        return SILENCE

    def close(self) -> None:
        """Await nothing any more."""
        self._stack.forget(self._key)
        self._stacks.give_back(self._stack)


def sctp_exchange(stacks: RawStacks, probe: Probe) -> RawExchange:
    """INIT, awaiting INIT ACK or ABORT with our initiate tag."""
    if probe.port is None:
        raise ProbeError("SCTP needs a port")
    stack = stacks.lend(SctpStack, probe.source.namespace, probe.destination.version)
    tag = secrets.randbits(32) | 1
    init = SctpPacket(probe.source_port or stack.next_port(), probe.port, 0, Chunk.INIT, initiate_tag=tag)
    key = (without_scope(probe.destination), probe.port, init.source_port, tag)
    return RawExchange(stacks, stack, probe, key, init.to_bytes())


def icmp_exchange(stacks: RawStacks, probe: Probe) -> RawExchange:
    """An echo request, awaiting the reply with its identifier and sequence number."""
    version = probe.destination.version
    stack = stacks.lend(IcmpStack, probe.source.namespace, version)
    echo = Echo(version, secrets.randbits(16), secrets.randbits(16), secrets.token_bytes(16))
    key = (without_scope(probe.destination), echo.identifier, echo.sequence)
    return RawExchange(stacks, stack, probe, key, echo.request())
