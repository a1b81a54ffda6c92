"""Deletion: preconditions, grace, finalizers, collections, and namespaces with all that is in them.

A pod that runs on a node is first marked and stays until a DELETE with a grace of 0 (a kubelet's); its default grace
is its own terminationGracePeriodSeconds, 30 unless said otherwise. Unscheduled and ended pods and all other kinds go
at once, unless finalizers hold them. Nothing collects garbage: ownerReferences and propagationPolicy have no effect.
"""

import enum
from dataclasses import dataclass

from policy_controller.testing.api_server import errors, metadata
from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.kinds import rules_of
from policy_controller.testing.api_server.kinds.pod import POD, stops_at_once
from policy_controller.testing.api_server.manners import Commit
from policy_controller.testing.api_server.namespaces import IMMORTAL, NamespaceLife
from policy_controller.testing.api_server.resources import NAMESPACES, RESOURCES
from policy_controller.testing.api_server.store import Store, Stored
from policy_controller.testing.api_server.surroundings import Clock
from policy_controller.testing.api_server.writes import Target


class Outcome(enum.Enum):
    """Whether the object still exists after a DELETE."""

    GONE = "gone"
    PENDING = "waits for its grace or its finalizers"


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a DELETE may ask for; None means that it does not say."""

    grace_seconds: int | None = None
    uid: str | None = None
    version: str | None = None


class Deleter:
    """Deletes objects. Every method is atomic: it does not await."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._life = NamespaceLife(store)

    def delete(
        self, target: Target, options: DeleteOptions, commit: Commit = Commit.WRITE
    ) -> tuple[Stored, Outcome]:
        """Deletes an object, or marks it for deletion; the object is returned as it last was.

        Raises:
            ApiError: 403 (a namespace that may not be deleted), 404, 409 (a precondition fails).
        """
        stored = self._store.get(target.shelf, target.key)
        if stored is None:
            raise errors.not_found(target.resource, target.key.name)
        body = stored.body()
        _check_preconditions(target, body, options)
        if target.resource is NAMESPACES:
            return self._delete_namespace(target, stored, body, commit)
        grace = _grace(target, body, options)
        meta = metadata_of(body)
        if "deletionTimestamp" in meta:
            left = meta.get("deletionGracePeriodSeconds", 0)
            if left and (options.grace_seconds is None or grace >= left):
                return stored, Outcome.PENDING
            if not left and meta.get("finalizers"):
                return stored, Outcome.PENDING
        if not grace and not meta.get("finalizers"):
            return self._remove(target, stored, body, commit), Outcome.GONE
        metadata.mark_deleted(body, self._clock.now(), grace)
        return self._put(target, stored, body, commit), Outcome.PENDING

    def _put(self, target: Target, stored: Stored, body: JsonObject, commit: Commit) -> Stored:
        if commit is Commit.DRY_RUN:
            return self._store.version_of(target.key, body, stored.version)
        return self._store.put(target.shelf, target.key, body)

    def _remove(self, target: Target, stored: Stored, body: JsonObject, commit: Commit) -> Stored:
        if commit is Commit.DRY_RUN:
            return stored
        gone = self._store.remove(target.shelf, target.key, body)
        self._life.settle(target.key.namespace)
        return gone

    def _delete_namespace(
        self, target: Target, stored: Stored, body: JsonObject, commit: Commit
    ) -> tuple[Stored, Outcome]:
        name = target.key.name
        if name in IMMORTAL:
            raise errors.forbidden(NAMESPACES, name, "this namespace may not be deleted")
        if "deletionTimestamp" in metadata_of(body):
            return stored, Outcome.PENDING
        metadata.mark_deleted(body, self._clock.now(), 0)
        body["status"] = {**body.get("status", {}), "phase": "Terminating"}
        marked = self._put(target, stored, body, commit)
        if commit is Commit.WRITE:
            for shelf, key in self._store.shelves_with(name):
                resource = next(row for row in RESOURCES if row.storage == shelf)
                self.delete(Target(resource, key), DeleteOptions())
            self._life.settle(name)
        return marked, Outcome.PENDING


def _check_preconditions(target: Target, body: JsonObject, options: DeleteOptions) -> None:
    meta = metadata_of(body)
    for what, asked, found in (
        ("UID", options.uid, meta["uid"]),
        ("ResourceVersion", options.version, meta["resourceVersion"]),
    ):
        if asked is not None and asked != found:
            why = (
                f"the {what} in the precondition ({asked}) does not match the {what} in record ({found}). "
                "The object might have been deleted and then recreated"
            )
            raise errors.conflict(target.resource, target.key.name, why)


def _grace(target: Target, body: JsonObject, options: DeleteOptions) -> int:
    rules = rules_of(target.shelf)
    if rules is not POD or stops_at_once(body):
        return 0
    asked = rules.grace(body) if options.grace_seconds is None else options.grace_seconds
    return 1 if asked < 0 else asked
