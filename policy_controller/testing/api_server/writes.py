"""Create, update and patch: a document in, a stored version out, by the rules of its kind.

Knows preconditions, validity and which part of an object a write may change. Knows nothing of HTTP, media types or
what a patch looks like; deletion is in `deletes`.
"""

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from policy_controller.testing.api_server import errors, metadata
from policy_controller.testing.api_server.documents import (
    JsonObject,
    as_stored,
    at_rest,
    body_of,
    metadata_of,
    renamed,
    without_nulls,
)
from policy_controller.testing.api_server.errors import ApiError, Fault, FieldFault
from policy_controller.testing.api_server.kinds import rules_of
from policy_controller.testing.api_server.manners import PLAINLY, Commit, FieldValidation, Manner, Part
from policy_controller.testing.api_server.namespaces import NamespaceLife
from policy_controller.testing.api_server.resources import NAMESPACES, Generation, Put, Resource, Scope
from policy_controller.testing.api_server.schemas.checks import Findings, fitted
from policy_controller.testing.api_server.schemas.shapes import kind_named
from policy_controller.testing.api_server.store import Key, Store, Stored
from policy_controller.testing.api_server.surroundings import Clock, Identities

GENERATE_ATTEMPTS = 8


class Validation(enum.Enum):
    """Whether faults refuse a write. LENIENT stores malformed objects as they come, as an older server may have."""

    STRICT = "strict"
    LENIENT = "lenient"


@dataclass(frozen=True, slots=True)
class Target:
    """One object: the resource it is seen through and its place."""

    resource: Resource
    key: Key

    @property
    def shelf(self) -> str:
        """Where it is stored."""
        return self.resource.storage


class Writer:
    """Creates and changes objects. Every method is atomic: it does not await."""

    def __init__(self, store: Store, clock: Clock, identities: Identities, validation: Validation) -> None:
        self._store = store
        self._clock = clock
        self._identities = identities
        self._validation = validation
        self._life = NamespaceLife(store)

    def create(
        self,
        resource: Resource,
        namespace: str,
        document: JsonObject,
        manner: Manner = PLAINLY,
    ) -> Stored:
        """Stores a new object.

        Raises:
            ApiError: 400, 403 (the namespace is going), 404 (no such namespace), 409 (the name is taken), 422.
        """
        body = self._accepted(resource, namespace, document, manner)
        if metadata_of(body).pop("resourceVersion", ""):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        if resource.scope is Scope.NAMESPACED:
            self._life.admit(resource, namespace, metadata_of(body).get("name", ""))
        rules = rules_of(resource.storage)
        if manner.part is not Part.WHOLE or "status" not in body:
            rules.begin(body)
        key = self._free_key(resource, namespace, body)
        rules.always(body)
        body = self._checked(resource, key, body, [])
        manner.track(None, body)
        if manner.commit is Commit.DRY_RUN:
            return self._store.version_of(key, body, self._store.version)
        return self._store.put(resource.storage, key, body)

    def replace(self, target: Target, document: JsonObject, manner: Manner = PLAINLY) -> tuple[Stored, bool]:
        """Replaces an object, or creates it where its resource allows that; the flag says it was created.

        Raises:
            ApiError: 400, 404, 409 (another version or another object is stored), 422.
        """
        resource, key = target.resource, target.key
        body = self._accepted(resource, key.namespace, document, manner)
        named = metadata_of(body).setdefault("name", key.name)
        if named != key.name:
            raise errors.bad_request(
                f"the name of the object ({named}) does not match the name on the URL ({key.name})"
            )
        stored = self._store.get(target.shelf, key)
        version = metadata_of(body).get("resourceVersion", "")
        if stored is None:
            if resource.put is Put.UNCONDITIONAL or version or manner.part is Part.STATUS:
                raise errors.not_found(resource, key.name)
            return self.create(resource, key.namespace, body, manner), True
        if not version and resource.put is Put.VERSIONED and manner.part is not Part.WHOLE:
            raise errors.invalid(resource, key.name, [_UNVERSIONED])
        return self._revise(target, stored, body, manner), False

    def change(
        self,
        target: Target,
        edit: Callable[[JsonObject], JsonObject],
        manner: Manner = PLAINLY,
    ) -> Stored:
        """Edits the present document of an object; `edit` sees it as its resource shows it.

        Raises:
            ApiError: as `replace`, and whatever `edit` raises.
        """
        resource, key = target.resource, target.key
        stored = self._store.get(target.shelf, key)
        if stored is None:
            raise errors.not_found(resource, key.name)
        edited = edit(shown(resource, stored))
        body = self._accepted(resource, key.namespace, edited, manner)
        if metadata_of(body).get("name") != key.name:
            immutable = FieldFault(
                "metadata.name", Fault.INVALID, "field is immutable", metadata_of(body).get("name")
            )
            raise errors.invalid(resource, key.name, [immutable])
        return self._revise(target, stored, body, manner)

    def _accepted(
        self, resource: Resource, namespace: str, document: JsonObject, manner: Manner
    ) -> JsonObject:
        """A document that is of this resource and for this place, as it would be stored."""
        version, kind = document.get("apiVersion"), document.get("kind")
        if version not in {None, "", resource.api_version}:
            raise errors.bad_request(
                f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
            )
        if kind not in {None, "", resource.kind}:
            raise errors.bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            )
        body = body_of(at_rest(document))
        if self._validation is Validation.STRICT:
            body = typed(resource, body, manner)
        body = as_stored(resource, body)
        metadata.check_types(resource, body)
        if metadata_of(body).get("namespace", namespace) not in {"", namespace}:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        return body

    def _free_key(self, resource: Resource, namespace: str, body: JsonObject) -> Key:
        given = metadata_of(body).get("name")
        name = ""
        for _ in range(1 if given else GENERATE_ATTEMPTS):
            metadata_of(body)["name"] = given
            metadata.begin(resource, body, namespace, self._clock, self._identities)
            name = metadata_of(body)["name"]
            if not name:
                raise errors.invalid(resource, "", metadata.faults_of(resource, body))
            if self._store.get(resource.storage, Key(namespace, name)) is None:
                return Key(namespace, name)
        raise errors.already_exists(resource, name)

    def _checked(
        self, resource: Resource, key: Key, body: JsonObject, faults: list[FieldFault]
    ) -> JsonObject:
        """The body with its defaults, or a refusal."""
        rules = rules_of(resource.storage)
        shaped = body_of(at_rest(body))
        if self._validation is Validation.LENIENT:
            shaped = without_nulls(shaped)
            if not _fits(resource, shaped):
                return body
        try:
            rules.shape(shaped)
            found = [*metadata.faults_of(resource, shaped), *faults, *rules.validate(shaped)]
            if not found:
                found = rules.claim(shaped, self._others(resource, key))
        except ApiError:
            if self._validation is Validation.LENIENT:
                return body
            raise
        if not found:
            return shaped
        if self._validation is Validation.LENIENT:
            return body
        raise errors.invalid(resource, metadata_of(body)["name"], found)

    def _others(self, resource: Resource, key: Key) -> Iterator[JsonObject]:
        """All objects of a resource but one; looked up only when somebody asks."""
        for stored in self._store.objects(resource.storage, None):
            if stored.key != key:
                yield stored.body()

    def _followed(self, resource: Resource, before: JsonObject, after: JsonObject) -> list[FieldFault]:
        if self._validation is Validation.LENIENT and not (
            _fits(resource, before) and _fits(resource, after)
        ):
            return []
        return rules_of(resource.storage).follow(before, after)

    def _revise(self, target: Target, stored: Stored, after: JsonObject, manner: Manner) -> Stored:
        resource, key = target.resource, target.key
        before = stored.body()
        self._check_preconditions(target, before, after)
        after = _merged(before, after, manner.part, resource)
        metadata.carry_over(before, after)
        rules_of(target.shelf).always(after)
        if manner.part is not Part.STATUS:
            faults = metadata.update_faults(before, after) + self._followed(resource, before, after)
            after = self._checked(resource, key, after, faults)
        if resource.generation is Generation.COUNTED and before.get("spec") != after.get("spec"):
            metadata.count_generation(after)
        manner.track(before, after)
        if manner.commit is Commit.DRY_RUN:
            return self._store.version_of(key, after, stored.version)
        if metadata.is_finished(after) and resource is not NAMESPACES:
            gone = self._store.remove(target.shelf, key, after)
            self._life.settle(key.namespace)
            return gone
        if after == before:
            # As etcd's client in the real server: a write that changes nothing has no version and no event.
            return stored
        written = self._store.put(target.shelf, key, after)
        if resource is NAMESPACES:
            # It goes when its content has gone, too.
            self._life.settle(key.name)
        return written

    def _check_preconditions(self, target: Target, before: JsonObject, after: JsonObject) -> None:
        old, new = metadata_of(before), metadata_of(after)
        if new.get("uid") not in {None, "", old["uid"]}:
            uids = f"Precondition failed: UID in precondition: {new['uid']}, UID in object meta: {old['uid']}"
            raise errors.conflict(target.resource, target.key.name, uids)
        version = new.get("resourceVersion", "")
        if version not in {"", "0", old["resourceVersion"]}:
            if not version.isdecimal():
                fault = FieldFault("metadata.resourceVersion", Fault.INVALID, "must be a number", version)
                raise errors.invalid(target.resource, target.key.name, [fault])
            raise errors.conflict(target.resource, target.key.name, errors.MODIFIED)


_UNVERSIONED = FieldFault("metadata.resourceVersion", Fault.INVALID, "must be specified for an update", 0)


def typed(resource: Resource, body: JsonObject, manner: Manner) -> JsonObject:
    """A document as the decoder of its type sees it.

    Raises:
        ApiError: 400 for a field of the wrong type, or that is unknown where that is not borne.
    """
    findings = Findings()
    result = fitted(body, kind_named(resource.api_version, resource.kind), findings)
    if findings.mistyped:
        raise errors.bad_request(f"{_undecodable(resource)}: {findings.mistyped[0]}")
    refuse_fields(resource, [f'unknown field "{path}"' for path in findings.unknown], manner)
    return result


def refuse_fields(resource: Resource, said: list[str], manner: Manner) -> None:
    """Refuses what is said of fields, or warns of it, or lets it be.

    Raises:
        ApiError: 400.
    """
    if said and manner.fields is FieldValidation.STRICT:
        raise errors.bad_request(f"{_undecodable(resource)}: strict decoding error: {', '.join(said)}")
    if manner.fields is FieldValidation.WARN:
        for sentence in said:
            manner.warn(sentence)


def _undecodable(resource: Resource) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'


def _fits(resource: Resource, body: JsonObject) -> bool:
    """Whether every field has its type, so that rules can read it."""
    findings = Findings()
    fitted(body, kind_named(resource.api_version, resource.kind), findings)
    return not findings.mistyped and without_nulls(body) == body


def shown(resource: Resource, stored: Stored) -> JsonObject:
    """A stored object as a document of a resource."""
    body = stored.body()
    called = renamed(body, resource.renamed.items())
    return {"kind": resource.kind, "apiVersion": resource.api_version, **called}


def _merged(before: JsonObject, after: JsonObject, part: Part, resource: Resource) -> JsonObject:
    """The document that results when only one part may change."""
    if part is Part.WHOLE:
        return after
    if part is Part.STATUS:
        kept = {name: value for name, value in before.items() if name not in {"status", "metadata"}}
        for name in ("status", "metadata"):
            if name in after:
                kept[name] = after[name]
        for name in ("finalizers", "ownerReferences"):
            metadata_of(kept).pop(name, None)
            if name in metadata_of(before):
                metadata_of(kept)[name] = metadata_of(before)[name]
        return kept
    if "status" not in resource.subresources:
        return after
    after.pop("status", None)
    return {**after, "status": before["status"]} if "status" in before else after
