"""On which nodes a policy counts as in force: what the operator compiled, what nodes acknowledged, and when."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import pytest

from compilers.compile import Compiler
from compilers.compile.compiler import Compiled
from compilers.compile.room import CLASS, ROOMS, Rooms
from compilers.model.faults import ObjectRef
from compilers.model.settings import ClusterSettings, Enforcement
from policy_controller.controller.compile_loop import Round, compile_round
from policy_controller.controller.complaints import complaints
from policy_controller.controller.enforced import Behind, Picture, Stage, Standing
from policy_controller.controller.kinds import Kind
from policy_controller.controller.moments import MOST_REMEMBERED
from policy_controller.controller.status import Condition, status_document
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStream, NodeStreams
from policy_controller.controller.tests.objects import Tree, allow_from, namespace, pod, policy
from policy_controller.testing.generators import random_cluster
from policy_controller.wire.messages import Ack, DeltaMessage, Nack, NackCause, SnapshotMessage

NOON: Final = datetime(2026, 1, 2, 12, tzinfo=UTC)
WEB: Final = {"podSelector": {"matchLabels": {"app": "web"}}}


@dataclass
class Site:
    """A store, its compiler and the streams of nodes, each step by hand; a minute passes at every step."""

    store: Store = field(default_factory=Store)
    version: int = 0
    minutes: int = 0
    last: Round = field(default_factory=lambda: Round(None))
    compiled: int = -1
    rooms: Rooms = ROOMS

    def __post_init__(self) -> None:
        self.streams = NodeStreams(self.today)
        self.put(Kind.NAMESPACE, namespace("shop"))
        for number in (1, 2):
            self.put(
                Kind.POD,
                pod(
                    f"web-{number}", address=f"10.0.0.{number}", node=f"node-{number}", labels={"app": "web"}
                ),
            )
        self.put(Kind.POD, pod("db", address="10.0.0.3", node="node-1", labels={"app": "db"}))

    def today(self) -> datetime:
        return NOON + timedelta(minutes=self.minutes)

    def put(self, kind: Kind, tree: Tree) -> None:
        self.version += 1
        metadata = tree["metadata"] | {"resourceVersion": str(self.version)}
        self.store.put(kind, tree | {"metadata": metadata})

    def compile(self) -> None:
        self.minutes += 1
        state = self.store.state()
        last = self.last if state.revision == self.compiled else Round(None, self.last.desired)
        self.last = compile_round(state, self.streams.nodes, last, self.rooms)
        self.compiled = state.revision
        for node, desired in self.last.desired.items():
            self.streams.desire(node, desired)

    def said(self, stream: NodeStream) -> DeltaMessage | SnapshotMessage:
        """The operator says what there is to say."""
        self.minutes += 1
        message = stream.session.next(0.0)
        assert message is not None
        stream.note()
        return message

    def acked(self, stream: NodeStream) -> None:
        """The same, and the node has it in force."""
        message = self.said(stream)
        desired = stream.session.status().desired
        assert desired is not None
        stream.session.acked(Ack(message.generation, desired.digest), 0.0)
        stream.note()

    def nodes(self, *names: str) -> tuple[NodeStream, ...]:
        """Nodes that connect and enforce what there is."""
        streams = tuple(self.streams.open(name) for name in names)
        self.compile()
        for stream in streams:
            self.acked(stream)
        return streams

    def picture(self) -> Picture:
        told = complaints(self.store, ())
        closed = frozenset(one.policy.ref for one in told if one.closes)
        return Picture(
            self.store.written(),
            self.last.compiler,
            self.compiled,
            self.streams.glance(),
            self.last.shut,
            closed,
            self.store.cluster().other_nodes,
        )

    def standing(self, name: str = "web") -> Standing:
        return self.picture().standing(ObjectRef("NetworkPolicy", "shop", name))

    def document(self) -> Tree:
        """What the operator tells."""
        condition = Condition(self.today(), synced=True, kubernetes="", not_ready=(), warnings=())
        return status_document(self.store.cluster(), self.picture(), (), condition)

    def behind_in_the_document(self) -> list[str]:
        """Connected nodes that are not current."""
        nodes = self.document()["nodes"]
        return [node["name"] for node in nodes if node["connected"] and not node["current"]]


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_policy_is_in_force_since_the_last_node_with_a_pod_of_it_has_it(site: Site) -> None:
    one, two, _ = site.nodes("node-1", "node-2", "node-3")
    site.put(Kind.POLICY, policy("web", WEB))
    assert site.standing() == Standing(Stage.WAITING)
    site.compile()
    untold = "has not acknowledged it yet"
    assert site.standing() == Standing(
        Stage.WAITING, 2, 0, None, (Behind("node-1", untold), Behind("node-2", untold))
    )
    site.acked(one)
    assert site.standing() == Standing(Stage.WAITING, 2, 1, None, (Behind("node-2", untold),))
    site.acked(two)
    last = site.today()
    assert site.standing() == Standing(Stage.ENFORCED, 2, 2, last)
    # What else happens, here to another policy on one of the nodes, changes nothing of that.
    site.put(Kind.POLICY, policy("db", {"podSelector": {"matchLabels": {"app": "db"}}}))
    site.compile()
    assert site.standing("db").stage is Stage.WAITING
    assert site.standing() == Standing(Stage.ENFORCED, 2, 2, last)


def test_an_earlier_version_does_not_count(site: Site) -> None:
    one, two = site.nodes("node-1", "node-2")
    site.put(Kind.POLICY, policy("web", WEB))
    site.compile()
    site.acked(one)
    site.acked(two)
    site.put(Kind.POLICY, policy("web", WEB | allow_from({"app": "db"}) | WEB))
    assert site.standing().stage is Stage.WAITING
    site.compile()
    site.acked(one)
    assert site.standing().behind == (Behind("node-2", "has not acknowledged it yet"),)
    site.acked(two)
    assert site.standing() == Standing(Stage.ENFORCED, 2, 2, site.today())


def test_a_version_that_changes_no_rule_set_is_in_force_as_soon_as_it_is_compiled(site: Site) -> None:
    one, two = site.nodes("node-1", "node-2")
    site.put(Kind.POLICY, policy("web", WEB))
    site.compile()
    site.acked(one)
    site.acked(two)
    site.put(Kind.POLICY, policy("web", WEB | {"policyTypes": ["Ingress"], "ingress": []}))
    site.compile()
    assert site.standing().stage is Stage.ENFORCED
    assert one.session.next(0.0) is None


def test_members_of_a_peer_that_a_node_was_not_told_of_count(site: Site) -> None:
    site.put(Kind.POLICY, policy("web", WEB | allow_from({"app": "db"}) | WEB))
    one, two = site.nodes("node-1", "node-2")
    assert site.standing().stage is Stage.ENFORCED
    site.put(Kind.POD, pod("db", address="10.0.0.3", node="node-1", labels={"app": "other"}))
    site.compile()
    site.acked(one)
    assert site.standing().behind == (Behind("node-2", "has not acknowledged it yet"),)
    site.acked(two)
    assert site.standing().stage is Stage.ENFORCED


def test_a_node_that_still_holds_an_earlier_version_counts_though_it_has_no_pod_of_it_any_more(
    site: Site,
) -> None:
    site.put(Kind.POLICY, policy("web", WEB))
    one, two = site.nodes("node-1", "node-2")
    site.put(Kind.POLICY, policy("web", {"podSelector": {"matchLabels": {"app": "db"}}}))
    site.compile()
    site.acked(one)
    assert site.standing().behind == (Behind("node-2", "has not acknowledged it yet"),)
    site.acked(two)
    assert (site.standing().stage, site.standing().nodes) == (Stage.ENFORCED, 1)


def test_nodes_without_a_stream_and_nodes_that_refuse_are_behind(site: Site) -> None:
    site.put(Kind.POLICY, policy("web", WEB))
    (one,) = site.nodes("node-1")
    assert site.standing().behind == (Behind("node-2", "is not connected"),)
    site.put(Kind.POLICY, policy("web", WEB | allow_from({"app": "db"}) | WEB))
    site.compile()
    message = site.said(one)
    one.session.nacked(Nack(message.generation, NackCause.KERNEL, "class", "File exists", 0), 0.0)
    assert site.standing().behind[0] == Behind("node-1", "refused generation 2 (kernel)")
    site.acked(one)
    assert site.standing().behind == (Behind("node-2", "is not connected"),)
    site.streams.close(one)
    assert len(site.standing().behind) == 2
    two = site.streams.open("node-2")
    assert site.standing().behind[1] == Behind("node-2", "has not been told yet")
    site.compile()
    assert site.standing().behind[1] == Behind("node-2", "has not acknowledged it yet")
    site.acked(two)
    assert [one.node for one in site.standing().behind] == ["node-1"]


def test_a_policy_that_isolates_no_pod_is_unused_and_one_with_faults_is_closed(site: Site) -> None:
    site.put(Kind.POLICY, policy("idle", {"podSelector": {"matchLabels": {"app": "none"}}}))
    site.put(Kind.POLICY, policy("broken", WEB | allow_from({"app": "db"}, port=70000) | WEB))
    site.nodes("node-1", "node-2")
    assert site.standing("idle") == Standing(Stage.UNUSED)
    broken = site.standing("broken")
    assert (broken.stage, broken.nodes, broken.enforced_on) == (Stage.CLOSED, 2, 2)


def test_a_policy_whose_pods_are_closed_for_want_of_room_is_closed_there(
    site: Site,
) -> None:
    for name in ("web", "more"):
        site.put(Kind.POLICY, policy(name, WEB))
    site.rooms = Rooms(of_class=replace(CLASS, policies=1))
    site.nodes("node-1", "node-2")
    for name in ("web", "more"):
        standing = site.standing(name)
        assert (standing.stage, standing.enforced_on) == (Stage.CLOSED, 0)
        assert standing.behind[0] == Behind("node-1", "has no room for it: pods that it selects are closed")


def test_what_was_not_compiled_yet_is_waited_for_whatever_it_was_before(site: Site) -> None:
    site.put(Kind.POLICY, policy("web", {"podSelector": {"matchLabels": {"app": "none"}}}))
    site.nodes("node-1", "node-2")
    assert site.standing() == Standing(Stage.UNUSED)
    site.put(Kind.POLICY, policy("web", WEB))
    assert site.standing() == Standing(Stage.WAITING)


def test_a_node_that_does_not_compile_is_behind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put(Kind.POLICY, policy("web", WEB))
    one, _ = site.nodes("node-1", "node-2")
    compiled = Compiler.compiled

    def fails(compiler: Compiler, name: str) -> Compiled:
        if name == "node-2":
            raise RuntimeError
        return compiled(compiler, name)

    monkeypatch.setattr(Compiler, "compiled", fails)
    site.put(Kind.POLICY, policy("web", WEB | allow_from({"app": "db"}) | WEB))
    site.compile()
    site.acked(one)
    assert site.standing().behind == (Behind("node-2", "has not been told yet"),)


def test_a_policy_is_behind_on_a_node_whose_new_pod_does_not_compile(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put(Kind.POLICY, policy("web", WEB))
    site.nodes("node-1", "node-2")
    site.put(Kind.POLICY, policy("db", {"podSelector": {"matchLabels": {"app": "none"}}}))
    site.compile()
    # What changes no rule set is told all the same.
    assert (site.standing().stage, site.behind_in_the_document()) == (Stage.ENFORCED, [])
    compiled = Compiler.compiled

    def fails(compiler: Compiler, name: str) -> Compiled:
        if name == "node-2":
            raise RuntimeError
        return compiled(compiler, name)

    monkeypatch.setattr(Compiler, "compiled", fails)
    site.put(Kind.POD, pod("web-3", address="10.0.0.9", node="node-2", labels={"app": "web"}))
    site.compile()
    assert Behind("node-2", "has not been told yet") in site.standing().behind
    assert "node-2" in site.behind_in_the_document()


def test_a_node_that_refuses_single_objects_has_the_enforcement_of_the_rest(site: Site) -> None:
    (one,) = site.nodes("node-1")
    site.store.settle(ClusterSettings(Enforcement.OFF), 1)
    site.compile()
    number = site.said(one).generation
    one.session.nacked(Nack(number, NackCause.KERNEL, "class", "File exists", number), 0.0)
    status = one.session.status()
    assert (status.enforcement, status.in_force) == (Enforcement.OFF, None)
    number = site.said(one).generation
    one.session.nacked(Nack(number, NackCause.KERNEL, "table", "Not supported", 0), 0.0)
    assert one.session.status().enforcement is None


def test_of_many_changes_times_are_remembered_and_never_told_as_earlier(site: Site) -> None:
    site.put(Kind.POLICY, policy("web", WEB))
    one, two = site.nodes("node-1", "node-2")
    first = site.standing().since
    true: dict[int, datetime] = {}
    for number in range(3 * MOST_REMEMBERED):
        site.put(Kind.POLICY, policy("db", {"podSelector": {"matchLabels": {"app": f"db-{number}"}}}))
        site.compile()
        true[site.compiled] = site.today()
    assert len(one.moments._held) <= MOST_REMEMBERED
    assert site.standing().since == first
    for revision, moment in true.items():
        told = two.moments.since(revision)
        assert told is not None
        assert told >= moment
    assert two.moments.since(site.compiled) == site.today()
    assert two.moments.since(site.compiled + 1) is None


def test_no_policy_is_in_force_while_enforcement_is_off(site: Site) -> None:
    site.put(Kind.POLICY, policy("web", WEB))
    one, two = site.nodes("node-1", "node-2")
    assert site.standing().stage is Stage.ENFORCED
    site.store.settle(ClusterSettings(Enforcement.OFF), 1)
    site.compile()
    for stream in (one, two):
        site.acked(stream)
    reasons = {(behind.node, behind.reason) for behind in site.standing().behind}
    assert site.standing().stage is Stage.WAITING
    assert reasons == {("node-1", "enforcement is off"), ("node-2", "enforcement is off")}
    site.store.settle(ClusterSettings(), 2)
    site.compile()
    site.acked(one)
    assert [behind.node for behind in site.standing().behind] == ["node-2"]
    site.acked(two)
    assert site.standing().stage is Stage.ENFORCED


@pytest.mark.parametrize("seed", range(30))
def test_the_nodes_of_a_policy_are_those_whose_rule_sets_name_it(seed: int) -> None:
    cluster = random_cluster(Random(seed))  # noqa: S311 - the same clusters in every run
    compiler = Compiler(cluster)
    named: dict[ObjectRef, set[str]] = {policy.ref: set() for policy in cluster.policies}
    for node in {one.node for one in cluster.pods if one.node is not None}:
        for part in compiler.node(node).classes.values():
            for ref in part.policies:
                named[ref].add(node)
    assert {ref: set(compiler.nodes_of(ref) or ()) for ref in named} == named
    assert compiler.nodes_of(ObjectRef("NetworkPolicy", "nowhere", "none")) is None
