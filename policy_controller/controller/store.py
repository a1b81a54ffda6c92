"""The operator's own picture of the cluster: the latest version of every object, whatever order they arrived in.

Knows which of two versions is the later one. Knows nothing of kopf, HTTP or nodes.

Each key is a register that the highest resourceVersion wins, and "gone" is a state with a version like any other; a LIST
says of every key it does not show that it is gone at the LIST's version. So the picture is a function of the events
alone: reordered, repeated or squashed, they end in the same one.
"""

import enum
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from compilers.model.cluster import OPERATOR, Cluster, Namespace, Node, Pod, ServiceAccount
from compilers.model.faults import Fault, ObjectRef
from compilers.model.policy import NetworkPolicy
from compilers.model.settings import DEFAULTS, ClusterSettings
from compilers.parse.identity import POD, made_uid
from policy_controller.controller.kinds import Kind
from policy_controller.controller.seen import Identity, Key, Seen, identity_of, read
from policy_controller.wire.messages import Stands

Value = TypeVar("Value", NetworkPolicy, Pod, Namespace, Node)


class Outcome(enum.Enum):
    """What an event did to the store."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    """A later version that says the same of what decides about traffic."""
    STALE = "stale"
    """Not later than what is known."""
    UNREADABLE = "unreadable"
    """It has no readable name."""


@dataclass(frozen=True, slots=True)
class State:
    """One moment of the store; `revision` grows with every change of `cluster`."""

    revision: int
    cluster: Cluster
    stands: Stands


@dataclass(frozen=True, slots=True)
class Repair:
    """What a LIST knew that no event had told, each sorted."""

    changed: tuple[Key, ...] = ()
    removed: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """Which version of a policy is known, and the revision of the store since which it says what it says.

    `version` is 0 where the resourceVersion is not a number.
    """

    uid: str
    version: int
    revision: int


@dataclass(slots=True)
class _Entry:
    identity: Identity
    seen: Seen | None
    """None: the object is gone since `identity.version`."""
    revision: int
    """Of the store, when it came to say what it says."""


class Store:
    """Parsed objects by kind and key. Belongs to one event loop; what it hands out is immutable."""

    def __init__(self, operator: ServiceAccount = OPERATOR) -> None:
        """`operator`: as whom the operator itself runs."""
        self._operator = operator
        self._shelves: dict[Kind, dict[Key, _Entry]] = {kind: {} for kind in Kind}
        self._versions: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self._listed_at: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self._faulty: dict[ObjectRef, Seen] = {}
        self._settings: ClusterSettings = DEFAULTS
        self._settings_version = 0
        self._revision = 0
        self._cluster: Cluster | None = None
        self._listeners: list[Callable[[], None]] = []
        self.unreadable = 0

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every event that was not stale."""
        self._listeners.append(listener)

    def note_unreadable(self) -> None:
        """An object was shown that does not say who it is."""
        self.unreadable += 1

    def put(self, kind: Kind, tree: object) -> Outcome:
        """The API shows this object (listed, added or modified)."""
        identity = identity_of(tree)
        if identity is None:
            self.note_unreadable()
            return Outcome.UNREADABLE
        if not self._is_later(kind, identity):
            return Outcome.STALE
        outcome = self._settle(kind, identity, read(kind, identity, tree))
        self._tell()
        return outcome

    def remove(self, kind: Kind, tree: object) -> Outcome:
        """The API says that this object was deleted, at the version the tree carries."""
        identity = identity_of(tree)
        if identity is None:
            self.note_unreadable()
            return Outcome.UNREADABLE
        if not self._ends(kind, identity):
            return Outcome.STALE
        outcome = self._settle(kind, identity, None)
        self._tell()
        return outcome

    def known(self, kind: Kind, tree: object) -> Seen | None:
        """What a LIST's tree says; what is known of this very version is not parsed again. None: unreadable."""
        identity = identity_of(tree)
        if identity is None:
            self.note_unreadable()
            return None
        entry = self._shelves[kind].get(identity.key)
        if entry is not None and entry.seen is not None and entry.identity == identity and identity.version:
            return entry.seen
        return read(kind, identity, tree)

    def replace_all(self, kind: Kind, listed: Iterable[Seen], version: int, began_at: int) -> Repair:
        """A complete LIST of a kind, taken at `version`; returns what it put right.

        Objects it does not show are gone, unless they are newer than it. `began_at` is `version_of(kind)` when the LIST
        was asked for: a LIST that is older than that is one of a cluster restored from a backup, where versions count
        anew, and then it alone is true. (The caller has made sure that it is not one of a server that lags behind.)
        """
        if version < began_at:
            self._forget(kind)
        shelf = self._shelves[kind]
        changed: list[Key] = []
        shown: set[Key] = set()
        for seen in listed:
            key = seen.identity.key
            shown.add(key)
            if self._is_later(kind, seen.identity) and (
                self._settle(kind, seen.identity, seen) is Outcome.CHANGED
            ):
                changed.append(key)
        missing = [
            key for key, entry in shelf.items() if key not in shown and entry.identity.version <= version
        ]
        removed = [key for key in missing if shelf[key].seen is not None]
        for key in missing:
            self._settle(kind, shelf[key].identity, None)
            # What is neither shown nor kept is gone at the LIST's version: `_is_later` says so of every such key.
            del shelf[key]
        self._listed_at[kind] = max(self._listed_at[kind], version)
        self._versions[kind] = max(self._versions[kind], version)
        self._tell()
        return Repair(tuple(sorted(changed)), tuple(sorted(removed)))

    def settle(self, settings: ClusterSettings, version: int) -> None:
        """What holds for the whole cluster from now on, as of this resourceVersion; 0 is unknown."""
        changed = settings != self._settings
        if not changed and version == self._settings_version:
            return
        self._settings, self._settings_version = settings, version
        if changed:
            self._revision += 1
            self._cluster = None
        self._tell()

    @property
    def settings(self) -> ClusterSettings:
        """What holds for the whole cluster."""
        return self._settings

    def state(self) -> State:
        """The present moment."""
        return State(self._revision, self.cluster(), self.stands())

    def cluster(self) -> Cluster:
        """The cluster state; the same object until something in it changes."""
        if self._cluster is None:
            self._cluster = Cluster.of(
                namespaces=self._values(Kind.NAMESPACE, Namespace),
                pods=_with_own_uids(self._values(Kind.POD, Pod)),
                policies=self._values(Kind.POLICY, NetworkPolicy),
                nodes=self._values(Kind.NODE, Node),
                operator=self._operator,
                settings=self._settings,
            )
        return self._cluster

    def stands(self) -> Stands:
        """The highest resourceVersion seen of each kind that rule sets are made of."""
        return Stands(
            pods=self._versions[Kind.POD],
            namespaces=self._versions[Kind.NAMESPACE],
            policies=self._versions[Kind.POLICY],
            settings=self._settings_version,
        )

    def version_of(self, kind: Kind) -> int:
        """The highest resourceVersion seen of a kind."""
        return self._versions[kind]

    @property
    def revision(self) -> int:
        """Counts changes of the cluster state."""
        return self._revision

    @property
    def faulty(self) -> Mapping[ObjectRef, Seen]:
        """Every object that has faults or warnings, by reference."""
        return self._faulty

    def faults_of(self, ref: ObjectRef) -> tuple[Fault, ...]:
        """The faults of one object."""
        seen = self._faulty.get(ref)
        return () if seen is None else seen.faults

    def policies(self, refs: Iterable[ObjectRef]) -> Mapping[ObjectRef, NetworkPolicy]:
        """Those of these policies that there are."""
        wanted = frozenset(refs)
        return {
            policy.ref: policy for policy in self._values(Kind.POLICY, NetworkPolicy) if policy.ref in wanted
        }

    def written(self, keys: Iterable[Key] | None = None) -> Mapping[ObjectRef, Written]:
        """Those of these policies that there are, or all, by the name that the cluster state has for them."""
        shelf = self._shelves[Kind.POLICY]
        entries = shelf.values() if keys is None else [shelf[key] for key in keys if key in shelf]
        return {
            entry.seen.value.ref: Written(entry.seen.value.uid, entry.identity.version, entry.revision)
            for entry in entries
            if entry.seen is not None and isinstance(entry.seen.value, NetworkPolicy)
        }

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod of this name, with the uid that the API gave it; None when it is not known."""
        entry = self._shelves[Kind.POD].get((namespace, name))
        value = None if entry is None or entry.seen is None else entry.seen.value
        return value if isinstance(value, Pod) else None

    def count(self, kind: Kind) -> int:
        """How many objects of a kind there are."""
        return sum(1 for entry in self._shelves[kind].values() if entry.seen is not None)

    def remembered(self, kind: Kind) -> Collection[Key]:
        """Keys of objects that are gone and still remembered as such."""
        return [key for key, entry in self._shelves[kind].items() if entry.seen is None]

    def _is_later(self, kind: Kind, identity: Identity) -> bool:
        entry = self._shelves[kind].get(identity.key)
        known = max(self._listed_at[kind], entry.identity.version if entry is not None else 0)
        # Versions that are not numbers do not compare: the latest to arrive is then the latest there is.
        return identity.version == 0 or identity.version > known

    def _ends(self, kind: Kind, identity: Identity) -> bool:
        """Whether a deletion is the latest that is known of its key."""
        entry = self._shelves[kind].get(identity.key)
        if entry is not None and entry.seen is not None and entry.identity == identity:
            # Some servers send a deleted object with the version of its last change: the deletion is the later of both.
            return True
        if entry is not None and 0 in {identity.version, entry.identity.version}:
            return identity.uid == entry.identity.uid
        return self._is_later(kind, identity)

    def _settle(self, kind: Kind, identity: Identity, seen: Seen | None) -> Outcome:
        before = self._shelves[kind].get(identity.key)
        entry = self._shelves[kind][identity.key] = _Entry(identity, seen, self._revision)
        self._versions[kind] = max(self._versions[kind], identity.version)
        self._note_faults(ObjectRef(kind.value, identity.namespace, identity.name), seen)
        old = before.seen.value if before is not None and before.seen is not None else None
        if old == (seen.value if seen is not None else None):
            entry.revision = self._revision if before is None else before.revision
            return Outcome.UNCHANGED
        self._revision += 1
        entry.revision = self._revision
        self._cluster = None
        return Outcome.CHANGED

    def _note_faults(self, ref: ObjectRef, seen: Seen | None) -> None:
        if seen is not None and (seen.faults or seen.warnings):
            self._faulty[ref] = seen
        else:
            self._faulty.pop(ref, None)

    def _forget(self, kind: Kind) -> None:
        for namespace, name in self._shelves[kind]:
            self._faulty.pop(ObjectRef(kind.value, namespace, name), None)
        self._shelves[kind].clear()
        self._versions[kind] = self._listed_at[kind] = 0
        self._revision += 1
        self._cluster = None

    def _values(self, kind: Kind, of: type[Value]) -> list[Value]:
        return [
            entry.seen.value
            for entry in self._shelves[kind].values()
            if entry.seen is not None and isinstance(entry.seen.value, of)
        ]

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _with_own_uids(pods: list[Pod]) -> list[Pod]:
    """The pods, each with a uid that no other has: a rule set tells them by it, and two of one would have none.

    An API server gives every object a uid of its own. Should it not, the first by name keeps what it says.
    """
    if len({pod.uid for pod in pods}) == len(pods):
        return pods
    taken: set[str] = set()
    own: list[Pod] = []
    for pod in sorted(pods, key=lambda pod: (pod.namespace, pod.name)):
        uid = made_uid(POD, pod.namespace, pod.name) if pod.uid in taken else pod.uid
        taken.add(uid)
        own.append(replace(pod, uid=uid))
    return own
