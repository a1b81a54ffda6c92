"""What a flood sends is what the meters see, to the packet, on every pod network."""

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from policy_controller.testing.flood import Count, Flood, Meters, Stream
from policy_controller.testing.flood.meters import Counts
from policy_controller.testing.laboratory import Laboratory, NetworkKind, Pod, inside

pytestmark = pytest.mark.packets
DEADLINE = 20.0
DROP_SOME = """
table inet gate {
	chain forward {
		type filter hook forward priority filter
		udp sport & 1 == 0 drop
	}
}
"""


@pytest.fixture(params=NetworkKind, ids=lambda kind: kind.value)
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    with Laboratory(network=request.param) as laboratory:
        yield laboratory


def streams_between(near: Pod, far: Pod) -> tuple[Stream, ...]:
    ends = zip(near.addresses, far.addresses, strict=True)
    return tuple(Stream(f"{far.name} IPv{source.version}", source, target) for source, target in ends)


def until(done: Callable[[Counts], bool], meters: Meters) -> None:
    deadline = time.monotonic() + DEADLINE
    while not done(meters.read()):
        assert time.monotonic() < deadline, meters.read()


def test_every_packet_is_seen_goes_past_and_arrives(laboratory: Laboratory) -> None:
    near_node, far_node = laboratory.add_node("node-a"), laboratory.add_node("node-b")
    near = laboratory.add_pod(near_node, "near")
    far = [laboratory.add_pod(node, f"far-{node.name}") for node in (near_node, far_node)]
    streams = [stream for pod in far for stream in streams_between(near, pod)]
    nodes = [node.namespace for node in (near_node, far_node)]

    with (
        Meters(nodes, [pod.namespace for pod in far], streams) as meters,
        Flood(laboratory, near, streams) as flood,
    ):
        until(lambda counts: all(count.arrived > 1000 for count in counts.values()), meters)
        with flood.paused():
            counts = meters.read()
            # Nothing is on its way while it is paused.
            assert meters.read() == counts
        until(lambda later: all(later[name].seen > one.seen for name, one in counts.items()), meters)

    # Streams take turns, and the ring ends with the last of them.
    sent = counts["far-node-a IPv4"].seen
    for stream in streams:
        hops = 2 if stream.name.startswith("far-node-b") else 1
        assert counts[stream.name] == Count(hops * sent, hops * sent, sent)


def test_a_packet_that_a_gate_drops_is_seen_and_goes_no_further(laboratory: Laboratory) -> None:
    node = laboratory.add_node("node-a")
    near, far = (laboratory.add_pod(node, name) for name in ("near", "far"))
    (stream, _) = streams_between(near, far)
    with inside(node.namespace):
        subprocess.run(("nft", "--file", "-"), input=DROP_SOME, text=True, check=True)  # noqa: S607 - make system installs it

    with (
        Meters([node.namespace], [far.namespace], [stream]) as meters,
        Flood(laboratory, near, [stream], rate=20_000) as flood,
    ):
        until(lambda counts: counts[stream.name].past > 100, meters)
        with flood.paused():
            count = meters.read()[stream.name]

    assert count == Count(count.seen, count.seen // 2, count.seen // 2)


def test_a_rate_is_kept(laboratory: Laboratory) -> None:
    node = laboratory.add_node("node-a")
    near, far = (laboratory.add_pod(node, name) for name in ("near", "far"))
    streams = streams_between(near, far)
    with (
        Meters([node.namespace], [far.namespace], streams) as meters,
        Flood(laboratory, near, streams, rate=2000),
    ):
        until(lambda counts: all(count.seen for count in counts.values()), meters)
        before, begin = meters.read(), time.monotonic()
        until(lambda counts: all(counts[name].seen > one.seen + 200 for name, one in before.items()), meters)
        seconds = time.monotonic() - begin
        after = meters.read()
    sent = sum(after[name].seen - one.seen for name, one in before.items())
    # It may be less on a busy machine, never more: a burst of ten packets may fall on either side.
    assert sent <= 2000 * seconds + 200


def test_a_flood_that_has_ended_is_told(laboratory: Laboratory) -> None:
    node = laboratory.add_node("node-a")
    near, far = (laboratory.add_pod(node, name) for name in ("near", "far"))
    with Flood(laboratory, near, streams_between(near, far)) as flood:
        laboratory.remove_pod(near)
        with pytest.raises(RuntimeError, match="the flood from near has ended"):
            pause_until_told(flood)


def pause_until_told(flood: Flood) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with flood.paused():
            pass
