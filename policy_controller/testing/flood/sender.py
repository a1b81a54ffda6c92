"""The process that floods: fills a ring with the frames of its streams and sends it round and round.

Runs in the namespace of the pod that sends, on one core, for a bounded time. Takes its order as one JSON argument and
ends at SIGTERM. Knows how to find the next hop. Counts nothing: what meters see is what counts.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Final, Self

from pyroute2 import IPRoute

from policy_controller.testing.flood.ring import SLOTS_OF_A_BLOCK, TransmitRing
from policy_controller.testing.flood.streams import FIRST_PORT, LAST_PORT, Stream
from policy_controller.testing.laboratory.addresses import Address

FLOWS: Final = (LAST_PORT + 1 - FIRST_PORT) // SLOTS_OF_A_BLOCK * SLOTS_OF_A_BLOCK
"""Frames of a ring, each with a source port of its own."""
BURST: Final = 256
"""Frames for one call of the kernel when there is no limit."""
PACE_SECONDS: Final = 0.005
NEIGHBOUR_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to send: `rate` in packets a second (None: as many as there is time for), for at most `seconds`."""

    interface: str
    streams: tuple[Stream, ...]
    rate: int | None
    core: int | None
    seconds: float

    def to_json(self) -> str:
        """The order as an argument of a process."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        read = json.loads(text)
        streams = tuple(
            Stream(one["name"], ip_address(one["source"]), ip_address(one["destination"]), one["port"])
            for one in read.pop("streams")
        )
        return cls(streams=streams, **read)


def frames(streams: Sequence[Stream], source_mac: str, next_macs: Sequence[str]) -> Iterator[bytes]:
    """FLOWS frames, the streams in turn, no two with the same source port."""
    count = len(streams)
    of_each = [
        stream.frames(source_mac, mac, range(FIRST_PORT + index, FIRST_PORT + FLOWS, count))
        for index, (stream, mac) in enumerate(zip(streams, next_macs, strict=True))
    ]
    for number in range(FLOWS):
        yield next(of_each[number % count])


def main() -> None:
    """Carry out the order in the first argument."""
    order = Order.from_json(sys.argv[1])
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    if order.core is not None:
        os.sched_setaffinity(0, {order.core})
    with IPRoute() as route:
        link = route.link("get", ifname=order.interface)[0]
        macs = [next_mac(route, stream.destination) for stream in order.streams]
    deadline = time.monotonic() + order.seconds
    filled = tuple(frames(order.streams, link.get("address"), macs))
    with TransmitRing(order.interface, filled) as ring:
        burst = BURST if order.rate is None else max(1, int(order.rate * PACE_SECONDS))
        due = time.monotonic()
        while not stopped and due < deadline:
            ring.send(burst)
            now = time.monotonic()
            if order.rate is None:
                due = now
                continue
            # What was missed is not made up for: a burst would be another load than the one that was asked for.
            due = max(due + burst / order.rate, now)
            time.sleep(due - now)


def next_mac(route: IPRoute, destination: Address) -> str:
    """The MAC that frames to the destination go to; asks the neighbour as the kernel does. Raises TimeoutError."""
    family = socket.AF_INET if destination.version == 4 else socket.AF_INET6
    hop = route.route("get", dst=str(destination), family=family)[0].get_attr("RTA_GATEWAY") or str(
        destination
    )
    deadline = time.monotonic() + NEIGHBOUR_SECONDS
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        while time.monotonic() < deadline:
            asking.sendto(b"", (str(destination), 9))
            for neighbour in route.get_neighbours(family=family, dst=hop):
                mac = neighbour.get_attr("NDA_LLADDR")
                if mac is not None:
                    return str(mac)
            time.sleep(PACE_SECONDS)
    raise TimeoutError(f"{hop} on the way to {destination} did not tell its MAC in {NEIGHBOUR_SECONDS} s")
