"""The other end of an agent's line: questions out, sights back.

Knows the agent's lines of JSON (agent.py). Knows nothing of how its port is reached.
"""

import asyncio
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from policy_controller.testing.probe.agent import LONGEST_LINE, Order, Question, Report, Sight, Watched
from policy_controller.testing.probe.continuous import Tally
from policy_controller.testing.probe.model import ProbeError

ANSWER_SECONDS: Final = 60.0


class AgentLine:
    """An agent that can be asked; an async context manager. `connection` is a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(sock=self._connection, limit=LONGEST_LINE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    async def ask(self, questions: Sequence[Question]) -> tuple[Sight, ...]:
        """What came of each question, in order. Raises ProbeError."""
        return (await self._say(Order(ask=tuple(questions)))).seen

    async def watch(self, watched: Sequence[Watched]) -> None:
        """Have them asked all the time from now on. Raises ProbeError, e.g. when an allowed pair cannot connect."""
        if not (await self._say(Order(watch=tuple(watched)))).watching:
            raise ProbeError("the agent does not watch")

    async def stop(self) -> Tally:
        """End the watch; what was seen in it. Raises ProbeError."""
        tally = (await self._say(Order())).tally
        await self._heard()  # the answer to the order itself
        if tally is None:
            raise ProbeError("the agent has watched nothing")
        return tally

    async def _say(self, order: Order) -> Report:
        self._writer.write(msgspec.json.encode(order) + b"\n")
        await self._writer.drain()
        return await self._heard()

    async def _heard(self) -> Report:
        async with asyncio.timeout(ANSWER_SECONDS):
            line = await self._reader.readline()
        if not line:
            raise ProbeError("the line to the agent has ended")
        report = msgspec.json.decode(line, type=Report)
        if report.error:
            raise ProbeError(report.error)
        return report
