"""An agent: listeners and a prober in the network namespace that it is started in, asked over a loopback port.

    python -m policy_controller.testing.probe.agent --identity shop/web --control 17700 --tcp 80 --udp 53 --sctp 2905

Whoever forwards the port (`kubectl port-forward`) sends lines of JSON and gets one line for each:

    {"ask": [{"destination": "10.244.1.5", "transport": "TCP", "port": 80, "peer": "shop/db"}]}
        {"seen": [{"outcome": "timed out", "peer": null, "reason": "..."}]}
    {"watch": [{"question": {...}, "expected": "denied"}]}     probes them again and again until the next line comes
        {"watching": true}, and after that line {"tally": {...}} before its own answer

Knows the prober. Knows nothing of Kubernetes. It needs CAP_NET_RAW for SCTP and ICMP, and nothing else.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_address
from typing import Final

import msgspec

from policy_controller.testing.laboratory.netns import OWN
from policy_controller.testing.probe.continuous import Expected, Pair, Tally, probe_until
from policy_controller.testing.probe.listeners import Listener
from policy_controller.testing.probe.model import Endpoint, Outcome, Probe, ProbeError, Transport
from policy_controller.testing.probe.prober import Prober

HOST: Final = "127.0.0.1"
LONGEST_LINE: Final = 1 << 24


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One probe from here. `source`, when said, is one of the addresses here."""

    destination: str
    transport: Transport
    port: int | None = None
    peer: str | None = None
    source: str | None = None

    def probe(self) -> Probe:
        """Raises ValueError, ProbeError."""
        source = Endpoint(OWN, None if self.source is None else ip_address(self.source))
        return Probe(source, ip_address(self.destination), self.transport, self.port, peer=self.peer)


class Watched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question to be asked all the time, and what should be seen."""

    question: Question
    expected: Expected


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line that comes in. With neither, it only ends a watch."""

    ask: tuple[Question, ...] = ()
    watch: tuple[Watched, ...] = ()


class Sight(msgspec.Struct, frozen=True):
    """What came of a question."""

    outcome: Outcome
    peer: str | None
    reason: str


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line that goes out."""

    seen: tuple[Sight, ...] = ()
    watching: bool = False
    tally: Tally | None = None
    error: str = ""


class Agent:
    """Serves whoever connects; one watch for each connection."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        stopped, watch = asyncio.Event(), None
        try:
            while line := await reader.readline():
                if watch is not None:
                    stopped.set()
                    await self._say(writer, Report(tally=await watch))
                    stopped, watch = asyncio.Event(), None
                try:
                    order = msgspec.json.decode(line, type=Order)
                    if order.watch:
                        watch = await self._watching(order.watch, stopped)
                        report = Report(watching=True)
                    else:
                        report = await self._asked(order.ask)
                except (msgspec.DecodeError, ValueError, ProbeError) as fault:
                    report = Report(error=str(fault))
                await self._say(writer, report)
        except ConnectionError:
            pass
        finally:
            if watch is not None:
                watch.cancel()
            writer.close()

    async def _asked(self, questions: Sequence[Question]) -> Report:
        results = await self._prober.run([question.probe() for question in questions])
        return Report(seen=tuple(Sight(one.outcome, one.peer, one.reason) for one in results))

    async def _watching(self, watched: Sequence[Watched], stopped: asyncio.Event) -> asyncio.Task[Tally]:
        pairs = [Pair(one.question.probe(), one.expected) for one in watched]
        started = asyncio.Event()
        watch = asyncio.create_task(probe_until(stopped, self._prober, pairs, started.set))
        begun = asyncio.create_task(started.wait())
        await asyncio.wait((watch, begun), return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        if watch.done():
            watch.result()
        return watch

    async def _say(self, writer: asyncio.StreamWriter, report: Report) -> None:
        writer.write(msgspec.json.encode(report) + b"\n")
        await writer.drain()


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="agent", description="Answers packets, and sends them when told.")
    parser.add_argument("--identity", required=True, help="what answers say of who answers")
    parser.add_argument("--control", type=int, required=True, help="port of the loopback for orders")
    for transport in ("tcp", "udp", "sctp"):
        parser.add_argument(
            f"--{transport}", type=int, action="append", default=[], help="a port to answer on"
        )
    parser.add_argument("--ready", type=int, help="a port on which everybody finds out that orders are taken")
    return parser.parse_args(words)


async def _main(said: argparse.Namespace) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    listener = Listener(OWN, said.identity, tuple(said.tcp), tuple(said.udp), tuple(said.sctp))
    async with Prober() as prober, AsyncExitStack() as stack:
        prober.listen(listener)
        agent = Agent(prober)
        control = await asyncio.start_server(agent.serve, HOST, said.control, limit=LONGEST_LINE)
        await stack.enter_async_context(control)
        if said.ready is not None:
            await stack.enter_async_context(await asyncio.start_server(_greet, port=said.ready))
        await ended.wait()


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader
    writer.close()


def main() -> None:
    """Run until told to end."""
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_main(_arguments(sys.argv[1:])))
    except (ProbeError, OSError, ValueError) as fault:
        raise SystemExit(f"agent: {fault}") from fault


if __name__ == "__main__":
    main()
