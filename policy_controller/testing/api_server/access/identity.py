"""Identities: the names and groups that permissions are given to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
MASTERS: Final = "system:masters"
_ACCOUNTS: Final = "system:serviceaccounts"
_ACCOUNT_PREFIX: Final = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, by name and groups."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


DEVELOPER: Final = Identity("development", (MASTERS, AUTHENTICATED))
"""Who started the server: may do everything. Where nobody has to say who they are, it is whoever does not."""

ANONYMOUS: Final = Identity("system:anonymous", (UNAUTHENTICATED,))
"""Who shows no credentials, where they matter."""


def account_user(namespace: str, name: str) -> str:
    """The user name of a service account."""
    return f"{_ACCOUNT_PREFIX}{namespace}:{name}"


def account_of(user: str) -> tuple[str, str] | None:
    """Namespace and name of the service account with this user name; None when it is none's."""
    namespace, _, name = user.removeprefix(_ACCOUNT_PREFIX).partition(":")
    return (namespace, name) if user.startswith(_ACCOUNT_PREFIX) and namespace and name else None


def account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of a namespace's service accounts."""
    return (_ACCOUNTS, f"{_ACCOUNTS}:{namespace}", AUTHENTICATED)


def impersonated(user: str, groups: tuple[str, ...]) -> Identity:
    """Who a request with the `Impersonate-*` headers is made as; a service account has its groups by itself."""
    account = account_of(user)
    if account is not None and not groups:
        return Identity(user, account_groups(account[0]))
    if user == ANONYMOUS.user and not groups:
        return ANONYMOUS
    return Identity(user, tuple(dict.fromkeys((*groups, AUTHENTICATED))))
