"""`apply`: the enforcer's writer to the kernel, in a network namespace of its own: a whole rule set, and one pod.

The rule set is that of a node with a hundred pods in a cluster of ten thousand. A pod comes (its chains, its map
elements, its places in peer sets) and goes again.
"""

import asyncio
from collections.abc import Iterator
from typing import Final

from bench.clusters import cluster
from bench.measure import MILLISECONDS, Measured, high, median, without_collections
from bench.tables import BASE
from compilers.compile.compiler import Compiler
from compilers.model.cluster import Cluster
from compilers.nftables.render import Tables, render
from policy_controller.clock import SystemClock
from policy_controller.enforcer.conntrack import Conntrack
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.enforcer.residence import LinkedNamespaces
from policy_controller.testing.namespaces import PrivateNamespace

PODS: Final = 10_000
NODE: Final = "node-0"
SNAPSHOTS: Final = 7
DELTAS: Final = 60


def measure() -> Measured:
    """Medians, and for the delta the value that 95 of 100 do not exceed."""
    state = cluster(PODS)
    # A pod of the node that no other node's compilation is asked for, so both states are of one size but for it.
    without = Cluster.of(state.namespaces.values(), state.pods[1:], state.policies, state.nodes.values())
    full, less = (render(Compiler(each).node(state.pods[0].node or NODE), BASE) for each in (state, without))
    snapshots = []
    for _ in range(SNAPSHOTS):
        snapshots += _in_a_kernel([full])
    deltas = _in_a_kernel([full, *_turns(less, full)])[1:]
    return Measured(
        "apply",
        {
            "snapshot_of_a_node_ms": median(snapshots[1:], MILLISECONDS),
            "one_pod_delta_ms": median(deltas, MILLISECONDS),
            "one_pod_delta_p95_ms": high(deltas, MILLISECONDS),
        },
    )


def _turns(first: Tables, second: Tables) -> Iterator[Tables]:
    for _ in range(DELTAS // 2):
        yield first
        yield second


def _in_a_kernel(states: list[Tables]) -> list[float]:
    """Seconds that each state takes to be in force after the one before, in a new namespace."""
    with PrivateNamespace() as network:
        return network.run(lambda: asyncio.run(_applied(states)))


async def _applied(states: list[Tables]) -> list[float]:
    clock = SystemClock()
    kernel = Kernel(LibNft(), Conntrack(), LinkedNamespaces(()), BASE, clock)
    try:
        await kernel.adopt()
        took = []
        with without_collections():
            for state in states:
                begun = clock.now()
                await kernel.apply(state)
                took.append(clock.now() - begun)
        return took
    finally:
        kernel.close()
