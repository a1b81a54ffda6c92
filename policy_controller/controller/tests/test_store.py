"""The store ends in one picture, whatever order, repetition or squashing of the same events it sees."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compilers.model.cluster import Cluster
from compilers.model.settings import ClusterSettings, Enforcement
from compilers.model.words import Direction
from policy_controller.controller.kinds import KINDS, Kind
from policy_controller.controller.seen import Seen
from policy_controller.controller.store import Outcome, Repair, Store
from policy_controller.controller.tests.objects import Tree, allow_from, namespace, node, pod, policy
from policy_controller.wire.messages import Stands


@dataclass(frozen=True)
class Event:
    """What a watch says: an object lives in this state, or is gone since its version."""

    kind: Kind
    tree: Tree
    gone: bool = False

    @property
    def version(self) -> int:
        return int(self.tree["metadata"]["resourceVersion"])

    @property
    def key(self) -> tuple[Kind, str]:
        return self.kind, self.tree["metadata"]["name"]

    def tell(self, store: Store) -> Outcome:
        return (store.remove if self.gone else store.put)(self.kind, self.tree)


MAKERS: dict[Kind, Callable[[str, int, str, int], Tree]] = {
    Kind.POLICY: lambda name, version, uid, n: policy(
        name, allow_from({"n": str(n)}), version=version, uid=uid
    ),
    Kind.POD: lambda name, version, uid, n: pod(name, address=f"10.0.0.{n}", version=version, uid=uid),
    Kind.NAMESPACE: lambda name, version, uid, n: namespace(
        name, labels={"n": str(n)}, version=version, uid=uid
    ),
    Kind.NODE: lambda name, version, uid, n: node(name, address=f"192.0.2.{n}", version=version, uid=uid),
}


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """A history as an API server writes it: each name has one life after the other, versions only grow."""
    steps = draw(
        st.lists(st.tuples(st.sampled_from(Kind), st.sampled_from("ab"), st.integers(0, 4)), max_size=25)
    )
    alive: dict[tuple[Kind, str], Event] = {}
    history: list[Event] = []
    for version, (kind, name, n) in enumerate(steps, start=1):
        before = alive.get((kind, name))
        if before is not None and n == 0:
            gone = before.tree | {"metadata": before.tree["metadata"] | {"resourceVersion": str(version)}}
            history.append(Event(kind, gone, gone=True))
            del alive[kind, name]
            continue
        uid = before.tree["metadata"]["uid"] if before is not None else f"uid-{version}"
        history.append(Event(kind, MAKERS[kind](name, version, uid, n + 1)))
        alive[kind, name] = history[-1]
    return history


def truth_at(history: list[Event], version: int) -> dict[tuple[Kind, str], Event]:
    alive: dict[tuple[Kind, str], Event] = {}
    for event in history[:version]:
        alive.pop(event.key, None)
        if not event.gone:
            alive[event.key] = event
    return alive


def told(events: list[Event]) -> Store:
    store = Store()
    for event in events:
        event.tell(store)
    return store


def listed(store: Store, history: list[Event], kind: Kind, version: int, began_at: int = 0) -> Repair:
    """What a LIST of that version does to the store."""
    trees = [event.tree for event in truth_at(history, version).values() if event.kind is kind]
    seen: list[Seen] = [one for one in (store.known(kind, tree) for tree in trees) if one is not None]
    return store.replace_all(kind, seen, version, began_at)


@given(history=histories(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_order_repetition_and_squashing_of_events_end_in_the_same_cluster(
    history: list[Event], data: st.DataObject
) -> None:
    in_order = told(history)
    last = {event.key: event for event in history}
    kept = [event for event in history if last[event.key] is event or data.draw(st.booleans())]
    repeated = data.draw(st.lists(st.sampled_from(kept), max_size=5)) if kept else []

    other = told(data.draw(st.permutations(kept + repeated)))

    assert other.cluster() == in_order.cluster()
    assert other.stands() == in_order.stands()
    expected = told(list(truth_at(history, len(history)).values()))
    assert other.cluster() == expected.cluster()


@given(history=histories(), data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_list_puts_right_whatever_events_were_lost_and_nothing_newer_is_undone(
    history: list[Event], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(history)))
    early = [event for event in history if data.draw(st.booleans())]
    # What happened after the LIST is not lost: the watch goes on.
    late = history[at:]
    cut = data.draw(st.integers(0, len(early)))
    store = told(data.draw(st.permutations(early))[:cut])

    for kind in Kind:
        listed(store, history, kind, at)
    for event in data.draw(st.permutations(early[cut:] + late)):
        event.tell(store)

    expected = told(list(truth_at(history, len(history)).values()))
    assert store.cluster() == expected.cluster()


def test_a_deletion_of_an_earlier_object_of_the_name_is_stale() -> None:
    store = told([Event(Kind.POD, pod("web", version=20, uid="second"))])
    assert store.remove(Kind.POD, pod("web", version=15, uid="first")) is Outcome.STALE
    assert [one.uid for one in store.cluster().pods] == ["second"]


def test_a_deletion_at_the_version_of_the_last_change_ends_that_object_alone() -> None:
    store = told([Event(Kind.POD, pod("web", version=20, uid="second"))])
    assert store.remove(Kind.POD, pod("web", version=20, uid="first")) is Outcome.STALE
    assert store.remove(Kind.POD, pod("web", version=20, uid="second")) is Outcome.CHANGED
    assert store.put(Kind.POD, pod("web", version=20, uid="second")) is Outcome.STALE


def test_versions_that_are_not_numbers_leave_the_order_of_arrival() -> None:
    store = Store()
    for address in ("10.0.0.1", "10.0.0.2"):
        tree = pod("web", address=address, uid="one")
        tree["metadata"]["resourceVersion"] = "not a number"
        assert store.put(Kind.POD, tree) is Outcome.CHANGED
    assert [str(one.addresses[0]) for one in store.cluster().pods] == ["10.0.0.2"]
    other = pod("web", uid="another")
    other["metadata"]["resourceVersion"] = None
    assert store.remove(Kind.POD, other) is Outcome.STALE


def test_a_list_older_than_what_was_seen_is_a_restored_cluster_and_alone_is_true() -> None:
    store = told([Event(Kind.POD, pod("old", version=900)), Event(Kind.POD, pod("web", version=901))])
    web = store.known(Kind.POD, pod("web", address="10.0.0.7", version=40, uid="restored"))
    assert web is not None
    store.replace_all(Kind.POD, [web], 50, began_at=901)
    assert [one.uid for one in store.cluster().pods] == ["restored"]
    assert store.stands().pods == 50
    assert store.put(Kind.POD, pod("web", address="10.0.0.8", version=51, uid="restored")) is Outcome.CHANGED


def test_a_late_deletion_does_not_make_room_for_what_a_list_knows_to_be_gone() -> None:
    store = Store()
    store.replace_all(Kind.POD, [], 10, 0)
    assert store.remove(Kind.POD, pod("web", version=3, uid="first")) is Outcome.STALE
    assert store.put(Kind.POD, pod("web", version=5, uid="second")) is Outcome.STALE
    assert store.put(Kind.POD, pod("web", version=11, uid="third")) is Outcome.CHANGED


def test_what_a_list_repaired_is_told() -> None:
    store = told([Event(Kind.POD, pod(name, version=version)) for version, name in enumerate("abc", start=1)])
    changed = store.known(Kind.POD, pod("a", address="10.0.0.9", version=8))
    same = store.known(Kind.POD, pod("b", version=2))
    assert changed is not None
    assert same is not None
    assert store.replace_all(Kind.POD, [changed, same], 9, 3) == Repair((("shop", "a"),), (("shop", "c"),))


def test_gone_objects_are_remembered_until_a_later_list() -> None:
    store = told([Event(Kind.POD, pod("web", version=5), gone=True)])
    store.replace_all(Kind.POD, [], 4, 0)
    assert store.remembered(Kind.POD) == [("shop", "web")]
    store.replace_all(Kind.POD, [], 6, 0)
    assert store.remembered(Kind.POD) == []
    assert store.put(Kind.POD, pod("web", version=5)) is Outcome.STALE


def test_a_change_of_nothing_that_decides_about_traffic_is_no_new_revision() -> None:
    store = told([Event(Kind.POD, pod("web", address="10.0.0.1", version=1))])
    revision, cluster = store.revision, store.cluster()
    tree = pod("web", address="10.0.0.1", version=2)
    tree["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    assert store.put(Kind.POD, tree) is Outcome.UNCHANGED
    assert store.revision == revision
    assert store.cluster() is cluster
    assert store.stands() == Stands(pods=2)


def test_settings_of_the_cluster_are_part_of_its_state() -> None:
    store, told = Store(), list[int]()
    store.put(Kind.POD, pod("web", version=2))
    store.subscribe(lambda: told.append(store.revision))
    before = store.cluster()

    store.settle(ClusterSettings(), 0)
    assert (store.cluster(), told) == (before, [])
    store.settle(ClusterSettings(), 3)
    assert store.cluster() is before
    assert store.stands() == Stands(pods=2, settings=3)
    told.clear()
    store.settle(ClusterSettings(Enforcement.OFF), 4)
    assert store.cluster().settings == ClusterSettings(Enforcement.OFF)
    assert store.cluster().pods == before.pods
    assert told == [store.revision]
    store.settle(ClusterSettings(), 5)
    assert store.cluster() == before
    assert store.stands() == Stands(pods=2, settings=5)
    assert len(told) == 2


UNREADABLE_SPECS: list[object] = [None, 7, "text", [], {"podSelector": 7}, {"ingress": {}, "podSelector": {}}]


@pytest.mark.parametrize("spec", UNREADABLE_SPECS, ids=repr)
def test_a_policy_that_cannot_be_read_is_kept_closed_and_its_faults_are_known(spec: object) -> None:
    tree = policy("broken", version=3)
    tree["spec"] = spec
    store = told([Event(Kind.POLICY, tree)])
    (kept,) = store.cluster().policies
    assert (kept.namespace, kept.name) == ("shop", "broken")
    if kept.faults:
        assert any(side.faults for side in kept.sides.values())
        assert store.faults_of(kept.ref) == kept.faults
    assert all(not side.rules for side in kept.sides.values())


def test_an_error_in_the_parser_closes_the_policys_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> None:
        raise RecursionError

    row = KINDS[Kind.POLICY]
    broken = type(row)(row.group, row.version, row.plural, fails)  # type: ignore[arg-type] # it must not parse
    monkeypatch.setattr("policy_controller.controller.seen.KINDS", {**KINDS, Kind.POLICY: broken})
    store = told([Event(Kind.POLICY, policy("deny", version=1))])
    (kept,) = store.cluster().policies
    assert kept.subject is None
    assert set(kept.sides) == set(Direction)
    assert all(side.faults for side in kept.sides.values())


json_trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "name", "uid", "resourceVersion", "spec", "status"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(kind=st.sampled_from(Kind), tree=json_trees, events=st.lists(st.booleans(), max_size=3))
@settings(max_examples=200, deadline=None)
def test_no_object_whatever_it_holds_raises(kind: Kind, tree: object, events: list[bool]) -> None:
    store = Store()
    for gone in events:
        (store.remove if gone else store.put)(kind, tree)
    store.known(kind, tree)
    assert isinstance(store.cluster(), Cluster)
