"""One laboratory for a module of tests, with a listener in every pod; rules are loaded with plain nft."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio

from policy_controller.testing.laboratory import Laboratory, Node, OutsideHost, Pod, inside
from policy_controller.testing.probe import Listener, Prober

TCP_PORTS = (80, 8080)
UDP_PORTS = (53,)
SCTP_PORTS = (9999,)


@dataclass(frozen=True, slots=True)
class Town:
    """Two nodes, five pods, an outside host."""

    laboratory: Laboratory
    nodes: tuple[Node, Node]
    pods: tuple[Pod, ...]
    outside: OutsideHost

    @property
    def near(self) -> tuple[Pod, Pod]:
        """Two pods of the first node."""
        return self.pods[0], self.pods[2]

    @property
    def far(self) -> tuple[Pod, Pod]:
        """A pod of each node."""
        return self.pods[0], self.pods[1]


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with Laboratory() as laboratory:
        nodes = laboratory.add_node("node-1"), laboratory.add_node("node-2")
        pods = tuple(laboratory.add_pod(nodes[number % 2], f"pod-{number}") for number in range(5))
        yield Town(laboratory, nodes, pods, laboratory.add_outside("beyond"))


@pytest_asyncio.fixture
async def prober(town: Town) -> AsyncIterator[Prober]:
    async with Prober() as prober:
        for pod in town.pods:
            prober.listen(Listener(pod.namespace, pod.name, TCP_PORTS, UDP_PORTS, SCTP_PORTS))
        outside = town.outside
        prober.listen(Listener(outside.namespace, outside.name, TCP_PORTS, UDP_PORTS, SCTP_PORTS))
        yield prober


def nft(namespace: str, rules: str) -> None:
    """Load rules into a namespace. Fails the test if nft refuses them."""
    with inside(namespace):
        subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)  # noqa: S607 - root's own PATH


@contextmanager
def rules(namespace: str, body: str) -> Iterator[None]:
    """Rules in the forward hook of a namespace, for the length of the block."""
    chain = "type filter hook forward priority filter; policy accept;"
    nft(namespace, f"table inet under-test {{\n chain forward {{\n {chain}\n{body}\n}}\n}}\n")
    try:
        yield
    finally:
        nft(namespace, "delete table inet under-test")
