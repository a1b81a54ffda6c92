"""Whatever a kernel holds, a plan leads to what it should hold, and a crash on the way is just another start."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from compilers.compile.compiler import compile_nodes
from compilers.model.cluster import Cluster
from compilers.model.faults import ObjectRef
from compilers.model.words import Address, Direction, Family, Protocol
from compilers.nftables.plan import KNOWN, SELF, plan
from compilers.nftables.references import targets
from compilers.nftables.render import Tables, render, render_empty
from compilers.nftables.trace import Decision, Walker
from compilers.nftables.transaction import (
    AddChain,
    AddElements,
    AddRule,
    DeleteElements,
    FlushChain,
    MapElement,
    Nft,
    Transaction,
    install,
)
from compilers.ruleset.delta import apply, difference
from compilers.ruleset.names import NameKind, content_name, family_name
from compilers.ruleset.parts import ClassRule, PeerSet, PodEntry, PolicyClass, PortSet, RuleRef
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.testing.agreement.tests.scene import BASE, Record
from policy_controller.testing.agreement.walk import packet_at, way
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.generators import random_cluster, traffic_of
from policy_controller.testing.namespaces import PrivateNamespace

LONG = settings(deadline=None, suppress_health_check=list(HealthCheck))
KERNEL_PAIRS = 60
CHOICES = st.randoms(use_true_random=False)


def listed(nft: Nft) -> Tables:
    inet = nft.list_table(BASE.inet.family, BASE.inet.name)
    bridge = nft.list_table(BASE.bridge.family, BASE.bridge.name)
    assert inet is not None
    assert bridge is not None
    return Tables(inet, bridge)


def start(nft: Nft) -> None:
    for table in render_empty(BASE).each():
        nft.run(install(table))


def carry_out(nft: Nft, desired: Tables, phases: int | None = None) -> None:
    """Apply the plan from what is there; only its first `phases` phases when given."""
    for _, transaction in plan(listed(nft), desired).each()[:phases]:
        if transaction.commands:
            nft.run(transaction)


def rule_sets(rng: Random) -> tuple[RuleSet, RuleSet]:
    """Two states of one node that share some of their objects: clusters grown from nearly the same choices."""
    first, second = (compile_nodes(random_cluster(rng)) for _ in range(2))
    node = min(first.keys() & second.keys())
    return first[node], second[node]


def closed(rng: Random) -> frozenset[Direction]:
    return frozenset(direction for direction in Direction if rng.random() < 0.5)


@LONG
@given(CHOICES)
def test_a_plan_to_what_is_there_already_is_empty(rng: Random) -> None:
    tables = render(rule_sets(rng)[0], BASE, closed(rng))
    assert all(transaction == Transaction() for _, transaction in plan(tables, tables).each())


def lead_to_the_desired_tables(nft: Nft, rng: Random) -> None:
    first, second = rule_sets(rng)
    start(nft)
    for desired in (render(first, BASE, closed(rng)), render(second, BASE, closed(rng)), render_empty(BASE)):
        # A crash after any number of phases: what is then found is the next plan's start.
        carry_out(nft, desired, phases=rng.randrange(4))
        carry_out(nft, desired)
        assert listed(nft) == desired


@LONG
@given(CHOICES)
def test_plans_lead_from_any_state_to_any_other_in_the_fake(rng: Random) -> None:
    lead_to_the_desired_tables(FakeNft(), rng)


@pytest.mark.kernel
@pytest.mark.timeout(300)
def test_plans_lead_from_any_state_to_any_other_in_the_kernel(record_property: Record) -> None:
    pairs = 0

    @settings(LONG, max_examples=KERNEL_PAIRS, phases=(Phase.generate,))
    @given(CHOICES)
    def lead(rng: Random) -> None:
        nonlocal pairs
        with kernel() as (nft, run):
            run(lambda: lead_to_the_desired_tables(nft, rng))
        pairs += 1

    lead()
    record_property("pairs of states planned and read back in the kernel", pairs)


@contextmanager
def kernel() -> Iterator[tuple[Nft, Callable[[Callable[[], None]], None]]]:
    with PrivateNamespace() as network:
        yield network.run(LibNft), network.run


@LONG
@given(CHOICES)
def test_a_delta_applied_to_the_old_rule_set_is_the_new_one(rng: Random) -> None:
    first, second = rule_sets(rng)
    assert apply(difference(first, second), first) == second


@LONG
@given(CHOICES)
def test_switch_leads_only_to_chains_that_an_earlier_transaction_committed(rng: Random) -> None:
    first, second = (render(one, BASE) for one in rule_sets(rng))
    phases = plan(first, second)
    committed = {chain.name for chain in first.inet.chains}
    committed |= {command.name for command in phases.prepare.commands if isinstance(command, AddChain)}

    for command in (*phases.switch.commands, *phases.admit.commands):
        assert not isinstance(command, AddChain)
        if isinstance(command, AddElements):
            for element in command.elements:
                assert not isinstance(element, MapElement) or element.verdict.chain in committed
        if isinstance(command, AddRule):
            assert set(targets(command.rule)) <= committed


def test_pods_are_known_no_later_than_unknown_addresses_are_dropped() -> None:
    policy_class = PolicyClass(Direction.INGRESS, (ObjectRef("NetworkPolicy", "shop", "deny"),), ())
    running = PodEntry("1", "shop", "web", (IPv4Address("10.244.1.11"),))
    waiting = PodEntry("2", "shop", "db", ingress=policy_class.name)
    rule_set = RuleSet.of("node-a", classes=[policy_class], pods=[running, waiting])

    phases = plan(render_empty(BASE), render(rule_set, BASE, frozenset({Direction.INGRESS})))

    switched = {
        command.name for command in phases.switch.commands if isinstance(command, AddElements | FlushChain)
    }
    assert {"known4", "unknown-ingress"} <= switched


@pytest.mark.parametrize("leaves", [True, False], ids=["a pod leaves the class", "all stay"])
def test_elements_join_after_the_switch_when_it_rewrites_a_chain_and_with_it_otherwise(leaves: bool) -> None:
    """Before: the peer set is empty. After: it has a member, and one of the two pods has another class or not."""
    peers = content_name(NameKind.PEER_SET, ("app=web",))
    admits = PolicyClass(
        Direction.INGRESS,
        (ObjectRef("NetworkPolicy", "shop", "a"),),
        (ClassRule(peers, None, RuleRef("shop", "a", 0)),),
    )
    closed_class = PolicyClass(Direction.INGRESS, (ObjectRef("NetworkPolicy", "shop", "b"),), ())

    def tables(members: frozenset[Address], first_class: PolicyClass) -> Tables:
        pods = [
            PodEntry("1", "shop", "one", (IPv4Address("10.244.1.11"),), ingress=first_class.name),
            PodEntry("2", "shop", "two", (IPv4Address("10.244.1.12"),), ingress=admits.name),
        ]
        sets = [PeerSet(peers, members)]
        return render(RuleSet.of("node-a", peer_sets=sets, classes=[admits, closed_class], pods=pods), BASE)

    phases = plan(
        tables(frozenset(), admits),
        tables(frozenset({IPv4Address("10.244.1.13")}), closed_class if leaves else admits),
    )

    joining = {
        phase
        for phase, transaction in phases.each()
        for command in transaction.commands
        if isinstance(command, AddElements) and command.name == family_name(peers, Family.IPV4)
    }
    assert joining == {"admit" if leaves else "switch"}


PORTS = content_name(NameKind.PORT_SET, ("http",))
NEW, OLD = (content_name(NameKind.PEER_SET, (label,)) for label in ("app=new", "app=old"))
ONE, TWO = IPv4Address("10.244.1.11"), IPv4Address("10.244.1.12")
ADMITS_EACH = PolicyClass(
    Direction.INGRESS,
    (ObjectRef("NetworkPolicy", "shop", "a"),),
    tuple(
        ClassRule(peers, ports, RuleRef("shop", "a", index))
        for index, (peers, ports) in enumerate(((NEW, None), (NEW, PORTS), (OLD, None)))
    ),
)
CLOSED = PolicyClass(Direction.EGRESS, (ObjectRef("NetworkPolicy", "shop", "b"),), ())


def told(
    new: set[Address],
    old: set[Address],
    port: int = 80,
    isolated: bool = True,
    more: tuple[PodEntry, ...] = (),
) -> Tables:
    """Members of two peer sets, a named port of address ONE, and whether the pod of address TWO is isolated."""
    egress = CLOSED.name if isolated else None
    pods = (
        PodEntry("1", "shop", "one", (ONE,), ingress=ADMITS_EACH.name, egress=CLOSED.name),
        PodEntry("2", "shop", "two", (TWO,), egress=egress),
        *more,
    )
    peer_sets = (PeerSet(NEW, frozenset(new)), PeerSet(OLD, frozenset(old)))
    port_sets = (PortSet(PORTS, frozenset({(ONE, Protocol.TCP, port)})),)
    rule_set = RuleSet.of(
        "node-a", peer_sets=peer_sets, port_sets=port_sets, classes=[ADMITS_EACH, CLOSED], pods=pods
    )
    return render(rule_set, BASE)


ARRIVED = PodEntry("3", "shop", "three", (IPv4Address("10.244.1.13"),), egress=CLOSED.name)


@pytest.mark.parametrize(
    ("before", "after", "phases"),
    [
        pytest.param(told({TWO}, set()), told(set(), {TWO}), ["switch"], id="a peer gets another label"),
        pytest.param(
            told({TWO}, set()), told({ONE}, set()), ["switch", "admit"], id="a peer comes as one goes"
        ),
        pytest.param(
            told({TWO}, set()), told({ONE, TWO}, set()), ["switch"], id="a peer comes and nothing closes"
        ),
        pytest.param(
            told(set(), set()),
            told({TWO}, set(), 81),
            ["switch", "admit"],
            id="a peer comes as a port changes",
        ),
        pytest.param(
            told(set(), set(), isolated=False),
            told({TWO}, set()),
            ["prepare", "switch", "admit"],
            id="a peer comes as its own gate closes",
        ),
        pytest.param(
            told(set(), {TWO}),
            told(set(), set(), isolated=False),
            ["switch", "admit", "clean up"],
            id="a peer goes as its own gate opens",
        ),
        pytest.param(
            told(set(), set()),
            told(set(), set(), more=(ARRIVED,)),
            ["prepare", "switch", "admit"],
            id="an isolated pod becomes known",
        ),
    ],
)
def test_what_opens_follows_what_closes_unless_one_peer_changes_sets(
    before: Tables, after: Tables, phases: list[str]
) -> None:
    assert [name for name, transaction in plan(before, after).each() if transaction.commands] == phases


@LONG
@given(CHOICES)
def test_no_transaction_of_many_changes_both_closes_and_opens(rng: Random) -> None:
    before, after = (render(one, BASE) for one in rule_sets(rng))
    phases = plan(before, after)
    gate_maps = {one.declaration.name for one in after.inet.maps}
    if not phases.admit.commands:
        return
    for command in phases.switch.commands:
        if isinstance(command, AddElements):
            assert command.name in gate_maps | SELF | KNOWN
        if isinstance(command, DeleteElements) and command.name in gate_maps:
            led = {element.key for element in led_by(phases.switch) if element.key in command.elements}
            assert led == set(command.elements)
    for command in phases.admit.commands:
        assert isinstance(command, AddElements if command_name(command) not in gate_maps else DeleteElements)


def led_by(transaction: Transaction) -> Iterator[MapElement]:
    for command in transaction.commands:
        if isinstance(command, AddElements):
            yield from (element for element in command.elements if isinstance(element, MapElement))


def command_name(command: object) -> str:
    assert isinstance(command, AddElements | DeleteElements)
    return command.name


@settings(LONG, phases=(Phase.generate,))
@given(CHOICES)
def test_a_packet_between_two_generations_passes_no_gate_that_both_close(rng: Random) -> None:
    """A packet walks the rules of the generation it began with, and sees elements as they are when it looks."""
    cluster = random_cluster(rng)
    changed = relabelled(cluster, random_cluster(rng), rng)
    for node, before in compile_nodes(cluster).items():
        old, new = render(before, BASE), render(compile_nodes(changed)[node], BASE)
        between = tuple(mixtures(old, new))
        walks = Walker(old.each()), Walker(new.each())
        for traffic in traffic_of(changed, rng, services_each=2):
            for hop in way(traffic):
                packet = packet_at(traffic, hop)
                if hop.node == node and all(walk.verdict(packet) is Decision.DROP for walk in walks):
                    assert all(walk.verdict(packet) is Decision.DROP for walk in between), str(traffic)


def relabelled(cluster: Cluster, other: Cluster, rng: Random) -> Cluster:
    """The cluster with some labels dealt anew and some policies of another one, as after a coalesced change."""
    labels = [pod.labels for pod in cluster.pods]
    pods = [replace(pod, labels=rng.choice(labels)) if rng.random() < 0.5 else pod for pod in cluster.pods]
    policies = [policy for policy in cluster.policies if rng.random() < 0.7]
    names = {policy.ref for policy in policies}
    policies += [policy for policy in other.policies if policy.ref not in names and rng.random() < 0.5]
    return Cluster.of(cluster.namespaces.values(), pods, policies, cluster.nodes.values())


def mixtures(old: Tables, new: Tables) -> Iterator[Walker]:
    """For each phase, what a packet meets that began before its commit and looks into sets after it."""
    nft = FakeNft()
    start(nft)
    carry_out(nft, old)
    for _, transaction in plan(old, new).each():
        before = listed(nft).inet
        nft.run(transaction)
        after = listed(nft)
        gone = {chain.name for chain in before.chains} - {chain.name for chain in after.inet.chains}
        if not gone:
            kept = {chain.name: chain for chain in before.chains}
            chains = tuple(kept.get(chain.name, replace(chain, rules=())) for chain in after.inet.chains)
            yield Walker((replace(after.inet, chains=chains), after.bridge))
