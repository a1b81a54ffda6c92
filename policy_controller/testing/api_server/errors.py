"""What the API server says when it refuses: Status objects, and the field faults that a 422 lists.

Knows the wording, reasons and codes of `metav1.Status`. Knows nothing of HTTP beyond the code's number, nor of
what is stored.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.resources import Resource


class Fault(enum.Enum):
    """Kinds of field fault: the `reason` of a Status cause, and the words its message begins with."""

    REQUIRED = ("FieldValueRequired", "Required value")
    INVALID = ("FieldValueInvalid", "Invalid value")
    FORBIDDEN = ("FieldValueForbidden", "Forbidden")
    NOT_SUPPORTED = ("FieldValueNotSupported", "Unsupported value")
    DUPLICATE = ("FieldValueDuplicate", "Duplicate value")
    TYPE_INVALID = ("FieldValueTypeInvalid", "Invalid value")


UNAUTHORIZED: Final = 401
WITHOUT_VALUE: Final = frozenset({Fault.REQUIRED, Fault.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One fault of one field, e.g. `spec.ports[0].port: Invalid value: 0: must be between 1 and 65535`."""

    path: str
    fault: Fault
    detail: str
    value: object = None

    @property
    def message(self) -> str:
        """The cause's message: without the field, as the API server gives it."""
        words = self.fault.value[1]
        if self.fault not in WITHOUT_VALUE:
            words = f"{words}: {msgspec.json.encode(self.value).decode()}"
        return f"{words}: {self.detail}" if self.detail else words


class ApiError(Exception):
    """A refusal that becomes an HTTP answer with a Status body."""

    def __init__(self, code: int, reason: str, message: str, details: JsonObject | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details if details is not None else {}
        self.continue_token: str | None = None

    def status(self) -> JsonObject:
        """The Status object of this refusal."""
        metadata = {} if self.continue_token is None else {"continue": self.continue_token}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            # Who is not known is told nothing else.
            **({} if self.code == UNAUTHORIZED and not self.details else {"details": self.details}),
            "code": self.code,
        }


def success(resource: Resource, name: str, uid: str) -> JsonObject:
    """The Status that answers a DELETE whose object is gone."""
    details = {"name": name, "kind": resource.plural, "uid": uid}
    if resource.group:
        details["group"] = resource.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _of_object(resource: Resource, name: str, kind: str | None = None) -> JsonObject:
    details: JsonObject = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    details["kind"] = kind or resource.plural
    return details


def not_found(resource: Resource, name: str) -> ApiError:
    """404 for an object that is not there."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _of_object(resource, name))


def no_such_path() -> ApiError:
    """404 for a path that names no resource."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> ApiError:
    """409 for a create of a name that is taken."""
    message = f'{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _of_object(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    """409 for a write against another version or another object of that name."""
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _of_object(resource, name))


MODIFIED: Final = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def invalid(resource: Resource, name: str, faults: Sequence[FieldFault]) -> ApiError:
    """422 with one cause for each fault."""
    said = [f"{fault.path}: {fault.message}" for fault in faults]
    text = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    details = _of_object(resource, name, kind=resource.kind)
    details["causes"] = [
        {"reason": fault.fault.value[0], "message": fault.message, "field": fault.path} for fault in faults
    ]
    return ApiError(422, "Invalid", f'{resource.qualified_kind} "{name}" is invalid: {text}', details)


def invalid_options(faults: Sequence[FieldFault]) -> ApiError:
    """422 for query parameters that contradict each other."""
    said = ", ".join(f"{fault.path}: {fault.message}" for fault in faults)
    return ApiError(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {said}', {"kind": "ListOptions"})


def unprocessable(why: str) -> ApiError:
    """422 for a JSON patch that cannot be applied to the object."""
    return ApiError(422, "Invalid", f"the server rejected our request due to an error in our request: {why}")


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[JsonObject] = ()) -> ApiError:
    """403 for what the server's own rules forbid to anybody."""
    details = _of_object(resource, name)
    if causes:
        details["causes"] = list(causes)
    return ApiError(403, "Forbidden", f'{resource.qualified} "{name}" is forbidden: {why}', details)


def unauthorized() -> ApiError:
    """401 for credentials that do not hold."""
    return ApiError(UNAUTHORIZED, "Unauthorized", "Unauthorized")


def not_permitted(group: str, plural: str, name: str, said: str) -> ApiError:
    """403 for what no role allows the asker; no plural: it is no resource that was asked for."""
    if not plural:
        return ApiError(403, "Forbidden", f"forbidden: {said}")
    qualified = f"{plural}.{group}" if group else plural
    named = f'{qualified} "{name}"' if name else qualified
    details = {key: value for key, value in (("name", name), ("group", group)) if value}
    return ApiError(403, "Forbidden", f"{named} is forbidden: {said}", {**details, "kind": plural})


def method_not_allowed() -> ApiError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message)


def not_acceptable(accepted: Sequence[str]) -> ApiError:
    """406."""
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return ApiError(406, "NotAcceptable", message)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """415."""
    message = f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    return ApiError(415, "UnsupportedMediaType", message)


def expired(message: str) -> ApiError:
    """410 for a version that has been compacted away."""
    return ApiError(410, "Expired", message)


def version_too_large(asked: int, current: int) -> ApiError:
    """504 for a read "not older than" a version that does not exist yet."""
    return ApiError(
        504,
        "Timeout",
        f"Too large resource version: {asked}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )
