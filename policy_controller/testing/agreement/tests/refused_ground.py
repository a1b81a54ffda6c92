"""Two nodes whose enforcement runs in this process, on real kernels, one of which can be made to refuse, to be short of memory, or to hang.

Knows the pods, what they are asked all the while, and how a fault gets into a transaction. Knows no expected answer of an
enforcer.
"""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from compilers.compile import Compiler
from compilers.nftables.expressions import jump
from compilers.nftables.table import Rule, Table
from compilers.nftables.transaction import AddRule, AddSet, Command, Transaction
from compilers.nftables.words import TableFamily
from compilers.ruleset.rule_set import RuleSet
from policy_controller.clock import SystemClock
from policy_controller.controller.kinds import Kind
from policy_controller.controller.store import Store
from policy_controller.controller.tests import objects
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.libnftables import rejection
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.session import Session
from policy_controller.testing.agreement.tests.test_atomicity_adoption import There, base_of
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.testing.laboratory import Laboratory
from policy_controller.testing.probe import (
    ContinuousProbing,
    Endpoint,
    Expected,
    Listener,
    Outcome,
    Pair,
    Probe,
    Prober,
    Transport,
)
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import NodeMessage, SnapshotMessage, Stands

NEAR, FAR = "node-a", "node-b"
PODS: Final = {"web": NEAR, "db": NEAR, "free": NEAR, "api": FAR, "guest": FAR}
TCP_PORT, UDP_PORT = 80, 53


def admits(app: str, *others: str) -> dict[str, Any]:
    """A policy that isolates an app in ingress and admits others."""
    peers = {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": list(others)}]}}
    spec = {
        "podSelector": {"matchLabels": {"app": app}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [peers]}],
    }
    return objects.policy(f"into-{app}", spec)


class FaultyKernel(There):
    """A real kernel. What is refused, it refuses itself: of a set's name or a class's the transaction asks something impossible."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        self.refuses = ""
        """The name of a set in the kernel, or of a class's chain."""
        self.lacks = ""
        """The sentence with which everything is refused."""
        self.go = threading.Event()
        """Cleared, everything hangs."""
        self.go.set()
        self.runs = 0

    def run(self, transaction: Transaction) -> None:
        self.runs += 1
        self.go.wait()
        if self.lacks:
            raise rejection(f"Error: Could not process rule: {self.lacks}\n", transaction)
        super().run(Transaction(tuple(map(self._impossible, transaction.commands))))

    def _impossible(self, command: Command) -> Command:
        match command:
            case AddSet(declaration=declaration) if declaration.name == self.refuses:
                # One element too many will be put into it.
                return replace(command, declaration=replace(declaration, size=1))
            case AddRule(chain=chain) if chain == self.refuses:
                # It would lead to itself.
                return replace(command, rule=Rule((jump(chain),)))
            case _:
                return command

    def list_table(self, family: TableFamily, name: str) -> Table | None:
        self.go.wait()
        return super().list_table(family, name)


class Node:
    """One node's enforcement."""

    def __init__(self, name: str, laboratory: Laboratory) -> None:
        self.name = name
        base, clock = base_of(laboratory.pod_interfaces), SystemClock()
        self.nft = FaultyKernel(laboratory.nodes[name].namespace)
        self.kernel = Kernel(self.nft, FakeConnections(), FakeResidence(), base, clock)
        self.session = Session(name)
        self.enforcement = Enforcement(self.kernel, base, self.session, UnknownGates(), clock, Metrics())
        self._generations = itertools.count(1)

    async def begin(self) -> None:
        await self.enforcement.adopt()
        self.enforcement.begin_stream()

    async def snapshot(self, rule_set: RuleSet) -> NodeMessage:
        message = SnapshotMessage(next(self._generations), Stands(), rule_set)
        return await self.enforcement.receive(encode_operator(message))


class Ground:
    """The laboratory, its cluster and its two nodes."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.laboratory = laboratory
        self._versions = itertools.count(1)
        self._store = Store()
        self._tell(Kind.NAMESPACE, objects.namespace("shop"))
        for name, node in PODS.items():
            if node not in laboratory.nodes:
                laboratory.add_node(node)
            pod = laboratory.add_pod(laboratory.nodes[node], name)
            tree = objects.pod(name, node=node, labels={"app": name})
            tree["status"]["podIPs"] = [{"ip": str(address)} for address in pod.addresses]
            self._tell(Kind.POD, tree)
        self.near, self.far = Node(NEAR, laboratory), Node(FAR, laboratory)

    def tell(self, *policies: dict[str, Any]) -> None:
        """The API shows these policies."""
        for policy in policies:
            self._tell(Kind.POLICY, policy)

    def _tell(self, kind: Kind, tree: dict[str, Any]) -> None:
        tree["metadata"]["resourceVersion"] = str(next(self._versions))
        self._store.put(kind, tree)

    def rule_set(self, node: str) -> RuleSet:
        """What the cluster means for a node."""
        return Compiler(self._store.cluster()).node(node)

    def probes(self, source: str, destination: str) -> list[Probe]:
        here, there = self.laboratory.pods[source], self.laboratory.pods[destination]
        ways = ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
        return [
            Probe(Endpoint(here.namespace, start), end, transport, port)
            for start, end, (transport, port) in zip(here.addresses, there.addresses, ways, strict=True)
        ]

    def listeners(self) -> list[Listener]:
        pods = self.laboratory.pods.values()
        return [Listener(pod.namespace, pod.name, (TCP_PORT,), (UDP_PORT,)) for pod in pods]

    @contextmanager
    def probing(
        self, allowed: tuple[tuple[str, str], ...], denied: tuple[tuple[str, str], ...]
    ) -> Iterator[ContinuousProbing]:
        """These pairs are asked all the while, by a process of its own."""
        pairs = [
            Pair(probe, expected)
            for expected, ends in ((Expected.ALLOWED, allowed), (Expected.DENIED, denied))
            for source, destination in ends
            for probe in self.probes(source, destination)
        ]
        with ContinuousProbing(self.listeners(), pairs) as probing:
            yield probing

    async def answers(self, prober: Prober, source: str, destination: str) -> set[Outcome]:
        """What a pair sees now; somebody must be listening."""
        return {result.outcome for result in await prober.run(self.probes(source, destination))}

    def close(self) -> None:
        for node in (self.near, self.far):
            node.nft.go.set()
            node.kernel.close()


@contextmanager
def ground() -> Iterator[Ground]:
    with Laboratory() as laboratory:
        made = Ground(laboratory)
        try:
            yield made
        finally:
            made.close()


async def until(condition: Callable[[], bool], within: float = 30.0) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - a kernel sets no event
            await asyncio.sleep(0.01)
