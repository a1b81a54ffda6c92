"""What a request asks for, in the words of RBAC, read from its method, path and query alone.

Knows how a real server takes paths apart before it knows whether anything is served there, so that who may do nothing
learns nothing. Source: RequestInfo of k8s.io/apiserver. Knows nothing of who asks.
"""

from collections.abc import Mapping
from typing import Final

from policy_controller.testing.api_server.access.rbac import Attributes, Url

_VERBS: Final[Mapping[str, str]] = {
    "DELETE": "delete",
    "GET": "get",
    "HEAD": "get",
    "PATCH": "patch",
    "POST": "create",
    "PUT": "update",
}
_OF_COLLECTIONS: Final[Mapping[str, str]] = {"delete": "deletecollection", "get": "list"}
_NAMESPACES: Final = "namespaces"
_OF_NAMESPACES: Final = frozenset({"finalize", "status"})
_NAME_TERM: Final = "metadata.name="


def attributes(method: str, path: str, query: Mapping[str, str]) -> Attributes | Url:
    """What a request asks for."""
    steps = [step for step in path.split("/") if step]
    match steps:
        case ["api", _, *rest] if rest:
            group = ""
        case ["apis", group, _, *rest] if rest:
            pass
        case _:
            return Url(method.lower(), path)
    namespace = ""
    if rest[0] == _NAMESPACES and len(rest) > 1:
        # As the real server has it: what is asked of a namespace is asked in it.
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _OF_NAMESPACES:
            rest = rest[2:]
    resource, name, subresource, *_ = [*rest, "", ""]
    verb = _VERBS.get(method, method.lower())
    if not name and verb in _OF_COLLECTIONS:
        verb = "watch" if verb == "get" and _is_watch(query) else _OF_COLLECTIONS[verb]
        name = _selected_name(query.get("fieldSelector", ""))
    return Attributes(verb, group, resource, subresource, namespace, name)


def _is_watch(query: Mapping[str, str]) -> bool:
    return query.get("watch", "false").lower() not in {"false", "0"}


def _selected_name(selector: str) -> str:
    """The one name that a fieldSelector asks for: rules with resourceNames then allow a LIST or WATCH, too."""
    for term in selector.split(","):
        if term.startswith(_NAME_TERM):
            return term.removeprefix(_NAME_TERM).removeprefix("=")
    return ""
