"""One object as the API showed it once: who it is, which version, and what the parser made of it.

Knows metadata and how to read any tree without raising. Knows nothing of what was seen before (store.py).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from compilers.model.faults import Fault, ObjectRef
from compilers.model.names import DNS_LABEL, DNS_SUBDOMAIN, UID
from compilers.model.policy import NetworkPolicy, Side
from compilers.model.words import Direction
from compilers.parse.identity import NETWORK_POLICY, made_uid
from policy_controller.controller.kinds import KINDS, Kind, Value

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace ("" where the kind has none) and name: at one time the API holds at most one object of a kind under it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which object, and which of its versions; `version` is 0 where the resourceVersion is not a number."""

    namespace: str
    name: str
    uid: str
    version: int

    @property
    def key(self) -> Key:
        """Where the store keeps it."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Seen:
    """A version of an object. `value` None: nothing of it could be read, and it counts as absent."""

    identity: Identity
    value: Value | None
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()


def identity_of(tree: object) -> Identity | None:
    """Who a tree says it is; None when it has no readable name, and then nobody can tell what it replaces."""
    metadata = tree.get("metadata") if isinstance(tree, Mapping) else None
    if not isinstance(metadata, Mapping):
        return None
    # API conventions: null is the same as a field that is not there.
    given = {field: value for field, value in metadata.items() if value is not None}
    name, namespace, uid = (given.get(field, "") for field in ("name", "namespace", "uid"))
    if not (isinstance(name, str) and isinstance(namespace, str) and isinstance(uid, str) and name):
        return None
    return Identity(namespace, name, uid, version_of(metadata.get("resourceVersion")))


def version_of(text: object) -> int:
    """A resourceVersion as a number, 0 where it is none.

    API concepts, "Resource versions": since Kubernetes 1.35 clients may compare the resourceVersions of one kind as
    numbers; etcd's revisions have always been numbers.
    """
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 20:
        return int(text)
    return 0


def read(kind: Kind, identity: Identity, tree: object) -> Seen:
    """What the parser makes of the tree; never raises."""
    try:
        parsed = KINDS[kind].parse(tree)
    except Exception:
        # An object that breaks the parser must not hide all others from the operator.
        log.exception("the parser failed on a %s", kind.value)
        closed = _closed(kind, identity)
        ref = ObjectRef(kind.value, identity.namespace, identity.name) if closed is None else closed.ref
        fault = Fault(ref, (), "could not be read because of an error in policy-controller")
        return _unreadable(identity, closed, (fault,))
    if parsed.value is None:
        return _unreadable(identity, _closed(kind, identity), parsed.faults, parsed.warnings)
    return Seen(identity, parsed.value, parsed.faults, parsed.warnings)


def _unreadable(
    identity: Identity,
    closed: NetworkPolicy | None,
    faults: tuple[Fault, ...],
    warnings: tuple[Fault, ...] = (),
) -> Seen:
    if closed is None:
        return Seen(identity, None, faults, warnings)
    sides = {direction: Side(faults=faults) for direction in Direction}
    return Seen(identity, replace(closed, sides=sides, faults=faults), faults, warnings)


def _closed(kind: Kind, identity: Identity) -> NetworkPolicy | None:
    """A policy of which only the name is known closes every pod of its namespace; other kinds are absent.

    Its name and uid go to the nodes and to the API server, so they are legal ones, whatever the object says. A
    namespace that cannot be one has no pods.
    """
    if kind is not Kind.POLICY or not DNS_LABEL.fits(identity.namespace):
        return None
    uid = made_uid(NETWORK_POLICY, identity.namespace, identity.name)
    return NetworkPolicy(
        namespace=identity.namespace,
        name=identity.name if DNS_SUBDOMAIN.fits(identity.name) else f"unreadable-{uid}",
        uid=identity.uid if UID.fits(identity.uid) else uid,
        subject=None,
        sides={},
    )
