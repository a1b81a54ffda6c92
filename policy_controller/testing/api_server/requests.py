"""Requests: paths, query parameters, media types and bodies, read into typed values.

Knows the spelling of the API. Knows nothing of what is stored and sends no answers.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
import yaml

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.deletes import DeleteOptions
from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.forms import JSON
from policy_controller.testing.api_server.lists import Paging, VersionMatch
from policy_controller.testing.api_server.manners import Commit, FieldValidation
from policy_controller.testing.api_server.resources import BY_PATH, Resource, Scope
from policy_controller.testing.api_server.schemas.protobuf import read_protobuf
from policy_controller.testing.api_server.selection import Selection
from policy_controller.testing.api_server.selectors import parse_fields, parse_labels
from policy_controller.testing.api_server.tables import Include
from policy_controller.testing.api_server.views import View
from policy_controller.testing.api_server.watches import Bookmarks, InitialEvents, WatchQuery

PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
YAML: Final = "application/yaml"
JSON_BODIES: Final = frozenset({"", "application/octet-stream", JSON})


class Shape(enum.Enum):
    """What a path points at."""

    COLLECTION = "a collection of one namespace, or of a cluster-scoped resource"
    EVERYWHERE = "a namespaced resource across all namespaces"
    OBJECT = "an object"
    SUBRESOURCE = "a part of an object"


@dataclass(frozen=True, slots=True)
class Place:
    """A resource path, read."""

    resource: Resource
    shape: Shape
    namespace: str | None
    name: str = ""
    subresource: str = ""


def read_place(group: str, version: str, steps: list[str]) -> Place:
    """What the steps after the group's version point at.

    Raises:
        ApiError: 404 when nothing is served there.
    """
    namespace: str | None = None
    namespaces = BY_PATH.get((group, version, "namespaces"))
    own_part = namespaces is not None and len(steps) == 3 and steps[2] in namespaces.subresources
    if len(steps) >= 3 and steps[0] == "namespaces" and not own_part:
        namespace, steps = steps[1], steps[2:]
    resource = BY_PATH.get((group, version, steps[0])) if steps and all(steps) else None
    if resource is None or len(steps) > 3:
        raise errors.no_such_path()
    namespaced = resource.scope is Scope.NAMESPACED
    if namespaced != (namespace is not None) and (namespace is not None or len(steps) > 1):
        raise errors.no_such_path()
    if len(steps) == 1:
        shape = Shape.EVERYWHERE if namespaced and namespace is None else Shape.COLLECTION
        return Place(resource, shape, namespace)
    if len(steps) == 2:
        return Place(resource, Shape.OBJECT, namespace, steps[1])
    if steps[2] not in resource.subresources:
        raise errors.no_such_path()
    return Place(resource, Shape.SUBRESOURCE, namespace, steps[1], steps[2])


def read_document(media_type: str, body: bytes) -> JsonObject:
    """The object in a request's body, JSON, YAML or protobuf; no media type means JSON.

    Raises:
        ApiError: 400, 415.
    """
    if media_type == PROTOBUF:
        return read_protobuf(body)
    if media_type not in {*JSON_BODIES, YAML}:
        raise errors.unsupported_media_type([JSON, YAML])
    try:
        document = yaml.safe_load(body) if media_type == YAML else msgspec.json.decode(body)
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as fault:
        raise errors.bad_request(f"the object provided is unrecognized: {fault}") from fault
    if not isinstance(document, dict):
        raise errors.bad_request("the object provided is unrecognized: it is not an object")
    return document


class _Preconditions(msgspec.Struct):
    uid: str | None = None
    resourceVersion: str | None = None  # noqa: N815 - the API's spelling


class _DeleteBody(msgspec.Struct):
    gracePeriodSeconds: int | None = None  # noqa: N815 - the API's spelling
    preconditions: _Preconditions | None = None
    dryRun: list[str] | None = None  # noqa: N815 - the API's spelling


def read_delete(query: Mapping[str, str], media_type: str, body: bytes) -> tuple[DeleteOptions, Commit]:
    """The options of a DELETE: from its body, else from its query.

    Raises:
        ApiError: 400, 415.
    """
    commit = read_commit(query)
    if not body:
        return DeleteOptions(grace_seconds=_number(query, "gracePeriodSeconds")), commit
    try:
        asked = msgspec.convert(read_document(media_type, body), _DeleteBody)
    except msgspec.ValidationError as fault:
        raise errors.bad_request(f"DeleteOptions cannot be decoded: {fault}") from fault
    only = asked.preconditions or _Preconditions()
    grace = asked.gracePeriodSeconds
    if grace is None:
        grace = _number(query, "gracePeriodSeconds")
    return DeleteOptions(grace, only.uid, only.resourceVersion), Commit.DRY_RUN if asked.dryRun else commit


def read_commit(query: Mapping[str, str]) -> Commit:
    """Whether dryRun asks for the result only.

    Raises:
        ApiError: 400 for another value than All.
    """
    match query.get("dryRun", ""):
        case "":
            return Commit.WRITE
        case "All":
            return Commit.DRY_RUN
        case other:
            raise errors.bad_request(f'dryRun: Unsupported value: "{other}": supported values: "All"')


def read_field_validation(query: Mapping[str, str]) -> FieldValidation:
    """What is to become of unknown fields; a warning, unless it is said.

    Raises:
        ApiError: 422.
    """
    text = query.get("fieldValidation", "") or FieldValidation.WARN.value
    if text not in {choice.value for choice in FieldValidation}:
        supported = 'supported values: "Ignore", "Strict", "Warn"'
        raise errors.invalid_options([FieldFault("fieldValidation", Fault.NOT_SUPPORTED, supported, text)])
    return FieldValidation(text)


def read_force(query: Mapping[str, str]) -> bool:
    """Whether an apply patch takes fields from other managers."""
    return _flag(query, "force") is True


def read_include(query: Mapping[str, str]) -> Include:
    """What the rows of a table bring along.

    Raises:
        ApiError: 400.
    """
    text = query.get("includeObject", "") or Include.METADATA.value
    if text not in {choice.value for choice in Include}:
        raise errors.bad_request(f'includeObject: Unsupported value: "{text}"')
    return Include(text)


def read_log(query: Mapping[str, str]) -> tuple[int | None, bool]:
    """How many lines of a log's end are wanted (None: all of it), and whether those to come are.

    Raises:
        ApiError: 400.
    """
    tail = _number(query, "tailLines")
    if tail is not None and tail < 0:
        raise errors.bad_request(f'tailLines: "{tail}" must be greater than or equal to 0')
    return tail, _flag(query, "follow") is True


def wants_watch(query: Mapping[str, str]) -> bool:
    """Whether a GET of a collection is a watch."""
    return _flag(query, "watch") is True


def read_selection(query: Mapping[str, str], place: Place) -> Selection:
    """What a list, watch or deletecollection means.

    Raises:
        ApiError: 400 for a malformed selector.
    """
    return Selection(
        place.resource,
        place.namespace,
        parse_labels(query.get("labelSelector", "")),
        parse_fields(query.get("fieldSelector", ""), place.resource),
    )


def read_paging(query: Mapping[str, str]) -> Paging:
    """How a list is to be cut and how fresh it must be.

    Raises:
        ApiError: 400, 422.
    """
    if _flag(query, "sendInitialEvents") is not None:
        why = "sendInitialEvents is forbidden for list"
        raise errors.invalid_options([FieldFault("sendInitialEvents", Fault.FORBIDDEN, why)])
    return Paging(
        max(_number(query, "limit") or 0, 0), query.get("continue", ""), read_version(query), _match(query)
    )


def read_watch(query: Mapping[str, str], place: Place, view: View) -> WatchQuery:
    """What a watch asks for.

    Raises:
        ApiError: 400, 422.
    """
    initial = {None: InitialEvents.UNSET, True: InitialEvents.SEND, False: InitialEvents.OMIT}[
        _flag(query, "sendInitialEvents")
    ]
    match = _match(query)
    if initial is InitialEvents.UNSET and match is not VersionMatch.UNSET:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        raise errors.invalid_options([FieldFault("resourceVersionMatch", Fault.FORBIDDEN, why)])
    if initial is not InitialEvents.UNSET and match is not VersionMatch.NOT_OLDER:
        why = 'sendInitialEvents requires setting resourceVersionMatch to "NotOlderThan"'
        raise errors.invalid_options([FieldFault("resourceVersionMatch", Fault.FORBIDDEN, why)])
    bookmarks = Bookmarks.WANTED if _flag(query, "allowWatchBookmarks") else Bookmarks.UNWANTED
    return WatchQuery(read_selection(query, place), read_version(query), initial, bookmarks, view)


def read_timeout(query: Mapping[str, str]) -> int | None:
    """timeoutSeconds; None and 0 leave it to the server."""
    return _number(query, "timeoutSeconds") or None


def read_version(query: Mapping[str, str]) -> int | None:
    """resourceVersion; None when there is none.

    Raises:
        ApiError: 400 when it is not a number.
    """
    text = query.get("resourceVersion", "")
    if text and not (text.isascii() and text.isdecimal()):
        raise errors.bad_request(f'Invalid value: "{text}": invalid resource version')
    return int(text) if text else None


def _match(query: Mapping[str, str]) -> VersionMatch:
    text = query.get("resourceVersionMatch", "")
    if text not in {match.value for match in VersionMatch}:
        supported = 'supported values: "Exact", "NotOlderThan"'
        raise errors.invalid_options(
            [FieldFault("resourceVersionMatch", Fault.NOT_SUPPORTED, supported, text)]
        )
    return VersionMatch(text)


def _flag(query: Mapping[str, str], name: str) -> bool | None:
    text = query.get(name)
    # As Go's query decoder: everything but "false" and "0" is true.
    return None if text is None else text.lower() not in {"false", "0"}


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name, "")
    try:
        return int(text) if text else None
    except ValueError as fault:
        raise errors.bad_request(f'{name}: "{text}" is not a number') from fault
