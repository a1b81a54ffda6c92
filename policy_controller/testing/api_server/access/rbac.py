"""RBAC: which of the stored roles and bindings allow an identity to do something.

Source: the reference's "Using RBAC Authorization". Permissions are only added, nothing is denied.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policy_controller.testing.api_server.access.identity import MASTERS, Identity, account_user
from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)
from policy_controller.testing.api_server.store import Key, Store


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is to be done with which resource; an empty name means any, an empty namespace all of them."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Url:
    """What is to be done with a path that is no resource."""

    verb: str
    path: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something is allowed, and by which binding."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule that an identity has, and by which binding it has it."""

    rule: JsonObject
    reason: str


class Authorizer:
    """Answers from the roles and bindings of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def decide(self, identity: Identity, asked: Attributes | Url) -> Decision:
        """Whether an identity may do this."""
        if MASTERS in identity.groups:
            return Decision(allowed=True, reason=f"{MASTERS} may do everything")
        namespace = asked.namespace if isinstance(asked, Attributes) else ""
        for grant in self.grants(identity, namespace):
            if allows(grant.rule, asked):
                return Decision(allowed=True, reason=grant.reason)
        return Decision(allowed=False)

    def grants(self, identity: Identity, namespace: str) -> Iterator[Grant]:
        """The rules of an identity in a namespace: those of the whole cluster first, in the order of names."""
        yield from self._of(CLUSTER_ROLE_BINDINGS, identity, None)
        if namespace:
            yield from self._of(ROLE_BINDINGS, identity, namespace)

    def _of(self, bindings: Resource, identity: Identity, namespace: str | None) -> Iterator[Grant]:
        for stored in self._store.objects(bindings.storage, namespace):
            body = stored.body()
            subject = _subject_for(body.get("subjects", []), identity, namespace or "")
            if subject is None:
                continue
            role = body.get("roleRef", {})
            place = "/".join(part for part in (namespace, metadata_of(body)["name"]) if part)
            named = f'{role.get("kind")} "{role.get("name")}" to {subject["kind"]} "{subject["name"]}"'
            reason = f'RBAC: allowed by {bindings.kind} "{place}" of {named}'
            for rule in self._rules(role, namespace or ""):
                yield Grant(rule, reason)

    def _rules(self, role: JsonObject, namespace: str) -> Sequence[JsonObject]:
        """The rules a binding refers to; none when the role is not there."""
        local = role.get("kind") == ROLES.kind
        resource = ROLES if local else CLUSTER_ROLES
        stored = self._store.get(resource.storage, Key(namespace if local else "", role.get("name", "")))
        rules: Sequence[JsonObject] = [] if stored is None else stored.body().get("rules", [])
        return rules


def _subject_for(subjects: Sequence[JsonObject], identity: Identity, namespace: str) -> JsonObject | None:
    """The first subject of a binding that means this identity."""
    for subject in subjects:
        name = subject.get("name", "")
        meant = {
            "Group": name in identity.groups,
            "ServiceAccount": account_user(subject.get("namespace") or namespace, name) == identity.user,
            "User": name == identity.user,
        }
        if meant.get(subject.get("kind", ""), False):
            return subject
    return None


def allows(rule: JsonObject, asked: Attributes | Url) -> bool:
    """Whether one rule allows this."""
    if not _names(rule, "verbs", asked.verb):
        return False
    if isinstance(asked, Url):
        return any(_matches_path(pattern, asked.path) for pattern in rule.get("nonResourceURLs", []))
    named = rule.get("resourceNames", [])
    return (
        _names(rule, "apiGroups", asked.group)
        and _names_resource(rule.get("resources", []), asked)
        # API: "An empty set means that everything is allowed."
        and (not named or asked.name in named)
    )


def _names(rule: JsonObject, field: str, word: str) -> bool:
    words = rule.get(field, [])
    return "*" in words or word in words


def _names_resource(resources: Sequence[str], asked: Attributes) -> bool:
    whole = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    wanted = {"*", whole} | ({f"*/{asked.subresource}"} if asked.subresource else set())
    return not wanted.isdisjoint(resources)


def _matches_path(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return pattern == path
