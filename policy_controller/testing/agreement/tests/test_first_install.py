"""Installing takes nothing down: pods that nobody isolates lose no packet, whether there is an operator or not.

Enforcers and their tables come to a cluster that runs, then its bridges begin to show packets to them and connections to be
tracked, then the operator speaks for the first time; every pair of pods is probed all the while.
"""

import asyncio
import time
from itertools import permutations
from pathlib import Path
from typing import Final

import pytest

from policy_controller.testing.agreement.tests.scene import Record, command
from policy_controller.testing.agreement.tests.whole_path import NODES, WholePath
from policy_controller.testing.laboratory import Laboratory, NetworkKind, Pod, inside
from policy_controller.testing.laboratory.netns import write_settings
from policy_controller.testing.probe import (
    ContinuousProbing,
    Endpoint,
    Expected,
    Listener,
    Pair,
    Probe,
    Tally,
    Transport,
)

pytestmark = [pytest.mark.packets, pytest.mark.timeout(120)]

TCP_PORT, UDP_PORT = 80, 53
BRIDGE_CALLS: Final = ("bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables")
WITHIN: Final = 20.0
LATER: Final = 0.4
"""Seconds of probing after each step."""


def built(laboratory: Laboratory) -> list[Pod]:
    """Two nodes as they are before anybody enforces, with two pods each."""
    for name in NODES:
        laboratory.add_node(name)
        show_bridged(laboratory, name, "0")
    return [
        laboratory.add_pod(laboratory.nodes[node], f"{name}-{node}")
        for node in NODES
        for name in ("web", "client")
    ]


def show_bridged(laboratory: Laboratory, node: str, value: str) -> None:
    """Whether bridges of the node hand packets to the IP hooks, as br_netfilter does once it is loaded."""
    with inside(laboratory.nodes[node].namespace):
        write_settings(dict.fromkeys(BRIDGE_CALLS, value))


def probing_of(pods: list[Pod]) -> ContinuousProbing:
    """Every pair in both families, TCP over one and UDP over the other; connections that were open before carry heartbeats."""
    listeners = [Listener(pod.namespace, pod.name, (TCP_PORT,), (UDP_PORT,)) for pod in pods]
    transports = ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
    return ContinuousProbing(
        listeners,
        [
            Pair(Probe(Endpoint(source.namespace, here), there, *knock), Expected.ALLOWED)
            for number, (source, destination) in enumerate(permutations(pods, 2))
            for here, there, knock in zip(
                source.addresses,
                destination.addresses,
                transports if number % 2 else transports[::-1],
                strict=True,
            )
        ],
    )


async def tables_stand(laboratory: Laboratory) -> None:
    """Return once every node's kernel has our tables."""
    deadline = time.monotonic() + WITHIN
    for node in laboratory.nodes.values():
        while "table inet policy-controller" not in command(node.namespace, "nft", "list", "tables"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def installed(
    laboratory: Laboratory, pods: list[Pod], folder: Path, *, wall: str | None = None
) -> Tally:
    """What probing saw of an installation; `wall` is nft text that stands in the way of one node's pods meanwhile."""
    with probing_of(pods) as probing:
        async with WholePath(folder, laboratory) as path:
            await tables_stand(laboratory)
            await asyncio.sleep(LATER)
            for name in NODES:
                show_bridged(laboratory, name, "1")
            await asyncio.sleep(LATER)
            if wall is not None:
                command(laboratory.nodes[NODES[0]].namespace, "nft", "-f", "-", text=wall)
            for pod in pods:
                path.tell_pod(pod, pod.name)
            await path.serve()
            await path.settled()
            await asyncio.sleep(LATER)
            return await asyncio.to_thread(probing.stop)


async def test_pods_that_nobody_isolates_lose_no_packet_when_we_are_installed(
    network: NetworkKind, tmp_path: Path, record_property: Record
) -> None:
    with Laboratory(network=network) as laboratory:
        tally = await installed(laboratory, built(laboratory), tmp_path)
    record_property("first install: probes", tally.probes)
    record_property("first install: heartbeats of open connections", tally.heartbeats)
    record_property("first install: refusals", tally.refusals)
    assert tally.is_clean, tally
    assert tally.probes > 500
    assert tally.heartbeats > 100


@pytest.mark.whole
async def test_a_packet_that_an_installation_loses_would_be_seen(
    network: NetworkKind, tmp_path: Path
) -> None:
    wall = (
        "add table inet wall; add chain inet wall f { type filter hook forward priority -10; policy drop; }"
    )
    with Laboratory(network=network) as laboratory:
        tally = await installed(laboratory, built(laboratory), tmp_path, wall=wall)
    assert tally.refusals > 0
