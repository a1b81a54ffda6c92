"""An enforcer's life up to a stated point of an apply, at which it is killed: in a process of its own, in a node's network.

Everything of the enforcer is real but its stream: messages come as bytes. A point is the so-manieth call of a function, in
any of its threads, since the apply began. So points are as many as the apply has steps, however long each takes.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any, Final

import nft_templates
from compilers.nftables.base import BaseSettings, base_tables
from policy_controller.clock import SystemClock
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.session import Session
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.testing.laboratory import inside
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.messages import Ack

CALLS: Final = frozenset({"call", "c_call"})
PATIENCE: Final = 60.0
NEVER: Final = 0
_PROCESSES: Final = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


@dataclass(frozen=True, slots=True)
class Life:
    """What an enforcer is told, one message after the other, and at which call of the last apply it dies."""

    namespace: str
    interfaces: tuple[str, ...]
    node: str
    messages: Sequence[bytes]
    dies_at: int = NEVER


def lived(life: Life) -> int | None:
    """Live it; returns how many calls its last apply took, or None when it was killed before the end."""
    near, far = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_live, args=(life, far), daemon=True)
    process.start()
    far.close()
    process.join(PATIENCE)
    assert process.exitcode in {0, -signal.SIGKILL}, process.exitcode
    return int(near.recv()) if process.exitcode == 0 else None


class _Counting:
    """Counts calls while it is on, and ends the process at one of them."""

    def __init__(self, last: int) -> None:
        self.calls, self.on = 0, False
        self._last = last

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:  # noqa: ANN401 - of any kind, and not looked at
        if not self.on or event not in CALLS:
            return
        self.calls += 1
        if self.calls == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


def _live(life: Life, line: Connection) -> None:
    counting = _Counting(life.dies_at)
    threading.setprofile(counting)
    sys.setprofile(counting)
    # Threads that it starts are in the network of the one that starts them.
    with inside(life.namespace):
        asyncio.run(_apply(life, counting))
    line.send(counting.calls)


async def _apply(life: Life, counting: _Counting) -> None:
    clock, metrics = SystemClock(), Metrics()
    base = base_tables(
        nft_templates.read(nft_templates.INET),
        nft_templates.read(nft_templates.BRIDGE),
        BaseSettings(life.interfaces),
    )
    kernel = Kernel(LibNft(), FakeConnections(), FakeResidence(), base, clock)
    enforcement = Enforcement(kernel, base, Session(life.node), UnknownGates(), clock, metrics)
    await enforcement.adopt()
    enforcement.begin_stream()
    for number, content in enumerate(life.messages, start=1):
        counting.on = number == len(life.messages)
        answer = await enforcement.receive(pb.OperatorMessage.FromString(content))
        counting.on = False
        assert isinstance(answer, Ack), answer
    kernel.close()
