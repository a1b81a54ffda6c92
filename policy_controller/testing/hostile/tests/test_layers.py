"""Every hostile case through every layer below the processes: store, files, evaluator, compiler, wire, tables, kernel."""

import json
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address
from itertools import permutations
from typing import Any, Final

import pytest

import nft_templates
from compilers.compile import Compiler
from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import Traffic, traffic_between
from compilers.model.cluster import Cluster
from compilers.model.faults import Fault
from compilers.model.policy import NetworkPolicy
from compilers.model.words import Direction, Protocol
from compilers.nftables.base import BaseSettings, base_tables
from compilers.nftables.writer import write
from compilers.parse.cluster import parse_cluster
from compilers.parse.source import read_documents
from policy_controller.controller.complaints import LONGEST_MESSAGE, complaints
from policy_controller.controller.kinds import Kind
from policy_controller.controller.store import Store
from policy_controller.testing.agreement.walk import ClusterWalk
from policy_controller.testing.hostile import BYSTANDERS, CASES, Case
from policy_controller.testing.hostile.case import GOOD, OTHER_PORT, PORT, PREY
from policy_controller.testing.namespaces import PrivateNamespace
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.convert import decode_operator, encode_operator
from policy_controller.wire.messages import SnapshotMessage, Stands

BASE: Final = base_tables(
    nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE), BaseSettings()
)
WEB, SERVER, CLIENT = (ip_address(text) for text in ("10.244.1.2", "10.244.1.3", "10.244.2.2"))
SECONDS: Final = 20.0
"""Processor time for one case through all layers; the slowest takes three here."""
by_name = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
Record = Any


def stored(case: Case) -> Store:
    """The operator's store once an API server has shown it the case."""
    store = Store()
    for version, tree in enumerate((*BYSTANDERS, *case.objects), 1):
        metadata = tree["metadata"] | {"resourceVersion": str(version)}
        store.put(Kind(tree["kind"]), tree | {"metadata": metadata})
    return store


def faults_of(store: Store, compiled: tuple[Fault, ...]) -> list[str]:
    seen = [str(fault) for one in store.faulty.values() for fault in one.faults]
    return [*seen, *map(str, compiled)]


def ways(cluster: Cluster) -> Iterator[Traffic]:
    """TCP between the prey and the bystanders, on a port that is admitted somewhere and on one that is not."""
    for source, destination in permutations((WEB, SERVER, CLIENT), 2):
        for port in (PORT, OTHER_PORT):
            yield traffic_between(cluster, source, destination, Protocol.TCP, port)


def closed_ways(cluster: Cluster, closes: frozenset[Direction]) -> list[Traffic]:
    pairs = {Direction.INGRESS: (CLIENT, WEB), Direction.EGRESS: (WEB, CLIENT)}
    return [traffic_between(cluster, *pairs[direction], Protocol.TCP, PORT) for direction in closes]


@by_name
def test_a_case_is_told_and_closes_and_leaves_the_bystanders_alone(case: Case) -> None:
    began = time.process_time()
    store = stored(case)
    cluster = store.cluster()
    compiler = Compiler(cluster)
    compiled = tuple(fault for node in ("node-a", "node-b") for fault in compiler.compiled(node).faults)
    told = faults_of(store, compiled)
    for part in case.told:
        assert any(part in fault for fault in told), told[:5]
    assert bool(told) is bool(case.told), told[:5]
    assert all(fault.isprintable() and len(fault) < 2_000 for fault in told)
    for complaint in complaints(store, compiled):
        assert len(complaint.message) <= LONGEST_MESSAGE
        assert complaint.message.isprintable()
        assert len(complaint.faults[0].where) < 1_000

    walk = ClusterWalk(cluster, BASE)
    for traffic in ways(cluster):
        if not case.beyond_room:
            assert walk.verdict(traffic) is judge(cluster, traffic).verdict, str(traffic)
    for traffic in closed_ways(cluster, case.closes):
        assert walk.verdict(traffic) is Verdict.DENIED
    admitted, other = (
        walk.verdict(traffic_between(cluster, CLIENT, SERVER, Protocol.TCP, port))
        for port in (PORT, OTHER_PORT)
    )
    assert (admitted, other) == (Verdict.ALLOWED, Verdict.DENIED)
    assert time.process_time() - began < SECONDS


@by_name
def test_every_node_takes_the_rule_set_of_a_case(case: Case) -> None:
    compiler = Compiler(stored(case).cluster())
    for node in ("node-a", "node-b"):
        message = SnapshotMessage(1, Stands(), compiler.node(node))
        sent = encode_operator(message).SerializeToString()
        assert decode_operator(pb.OperatorMessage.FromString(sent)) == message


@by_name
def test_a_file_with_a_case_is_read_and_closes_no_less(case: Case) -> None:
    text = "\n".join(json.dumps(tree) for tree in (*BYSTANDERS, *case.objects))
    read = read_documents(text, "hostile.json")
    parsed = parse_cluster(read.documents)
    told = [str(fault) for fault in (*read.faults, *parsed.faults)]
    assert all(fault.isprintable() and len(fault) < 2_000 for fault in told)
    if case.told and not case.beyond_room:
        assert told
    policies = [one for one in parsed.cluster.policies if one.namespace == PREY]
    if case.closes and policies and not case.beyond_room and any(one.faults for one in policies):
        assert case.closes <= closed_by(policies)
    good = [one for one in parsed.cluster.policies if one.namespace == GOOD]
    assert all(side.rules for one in good for side in one.sides.values())


def closed_by(policies: list[NetworkPolicy]) -> frozenset[Direction]:
    return frozenset(direction for one in policies for direction, side in one.sides.items() if not side.rules)


@pytest.mark.kernel
def test_a_kernel_takes_and_gives_back_the_tables_of_every_case(record_property: Record) -> None:
    written: dict[str, tuple[str, ...]] = {}
    for case in CASES:
        for tables in ClusterWalk(stored(case).cluster(), BASE).tables.values():
            written.setdefault("".join(write(table) for table in tables.each()), (case.name,))
    with PrivateNamespace() as network:
        for text, (name,) in written.items():
            assert network.run(partial(loaded, text)) == "", name
    record_property("tables of hostile objects loaded into the kernel", len(written))


def loaded(text: str) -> str:
    """What nft says of the tables, loaded into a kernel that holds none."""
    done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False)  # noqa: S607 - nft of the system
    subprocess.run(["nft", "flush", "ruleset"], check=True)  # noqa: S607 - as above, in a namespace of our own
    return done.stderr
