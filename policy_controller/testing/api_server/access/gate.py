"""The gate before every request: who asks, whether they may, and what is written down of it.

Knows headers and refusals. What roles say, it asks; who holds a token, too.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware
from multidict import CIMultiDictProxy

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.access.attributes import attributes
from policy_controller.testing.api_server.access.authentication import Authenticator
from policy_controller.testing.api_server.access.identity import (
    ANONYMOUS,
    DEVELOPER,
    Identity,
    account_of,
    impersonated,
)
from policy_controller.testing.api_server.access.rbac import Attributes, Authorizer, Url
from policy_controller.testing.api_server.access.record import Record
from policy_controller.testing.api_server.access.tokens import TokenRefusedError
from policy_controller.testing.api_server.features import Permission

_BEARER: Final = "bearer"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who a request is made as.

    `check_creation` raises ApiError (403) unless they may also create what the request names, as an apply does, or a
    PUT, of what is not there.
    """

    identity: Identity
    check_creation: Callable[[], None]


ADMITTED: Final = web.RequestKey("admitted", Admitted)
"""What a request has with it once it is through the gate."""


class Gate:
    """The gate of one server."""

    def __init__(
        self, authenticator: Authenticator, authorizer: Authorizer, permission: Permission, record: Record
    ) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._permission = permission
        self._record = record

    def middleware(self) -> Middleware:
        """Lets requests in, as whom they may be made; refuses others with 401 or 403."""

        @web.middleware
        async def gated(request: web.Request, handler: _Handler) -> web.StreamResponse:
            identity = self.admit(request)
            request[ADMITTED] = Admitted(identity, lambda: self._check_creation(identity, request))
            return await handler(request)

        return gated

    def admit(self, request: web.Request) -> Identity:
        """Who a request is made as.

        Raises:
            ApiError: 401, 403.
        """
        headers = request.headers
        if self._permission is Permission.OPEN:
            asker = self._developer_or_account(headers)
            user = headers.get("Impersonate-User")
            return _as_whom(user, headers) if user else asker
        identity = self._authenticated(headers)
        user = headers.get("Impersonate-User")
        if user:
            for asked in _impersonations(user, headers):
                self._check(identity, asked)
            identity = _as_whom(user, headers)
        elif "Impersonate-Group" in headers:
            why = "requested impersonation of groups without impersonating a user"
            raise errors.ApiError(500, "InternalError", f"Internal error occurred: {why}")
        self._check(identity, attributes(request.method, request.path, request.query))
        return identity

    def _check_creation(self, identity: Identity, request: web.Request) -> None:
        asked = attributes(request.method, request.path, request.query)
        if self._permission is Permission.AUTHORIZED and isinstance(asked, Attributes):
            self._check(identity, dataclasses.replace(asked, verb="create"))

    def _developer_or_account(self, headers: CIMultiDictProxy[str]) -> Identity:
        """Who asks where nobody has to say who they are."""
        try:
            return self._authenticator.authenticate(_bearer(headers) or "").identity
        except TokenRefusedError:
            return DEVELOPER

    def _authenticated(self, headers: CIMultiDictProxy[str]) -> Identity:
        token = _bearer(headers)
        if token is None:
            return ANONYMOUS
        try:
            return self._authenticator.authenticate(token).identity
        except TokenRefusedError as refused:
            raise errors.unauthorized() from refused

    def _check(self, identity: Identity, asked: Attributes | Url) -> None:
        decision = self._authorizer.decide(identity, asked)
        self._record.note(identity.user, asked, decision)
        if not decision.allowed:
            raise _forbidden(identity.user, asked)


def _bearer(headers: CIMultiDictProxy[str]) -> str | None:
    """The token that a request shows; None for none, and for credentials of another kind, which nobody reads."""
    kind, _, token = headers.get("Authorization", "").strip().partition(" ")
    return (token.strip() or None) if kind.lower() == _BEARER else None


def _as_whom(user: str, headers: CIMultiDictProxy[str]) -> Identity:
    return impersonated(user, tuple(headers.getall("Impersonate-Group", [])))


def _impersonations(user: str, headers: CIMultiDictProxy[str]) -> Iterator[Attributes]:
    """What one must be allowed to be in order to ask as somebody else."""
    account = account_of(user)
    if account is None:
        yield Attributes("impersonate", resource="users", name=user)
    else:
        namespace, name = account
        yield Attributes("impersonate", resource="serviceaccounts", namespace=namespace, name=name)
    for group in headers.getall("Impersonate-Group", []):
        yield Attributes("impersonate", resource="groups", name=group)


def _forbidden(user: str, asked: Attributes | Url) -> errors.ApiError:
    if isinstance(asked, Url):
        said = f'User "{user}" cannot {asked.verb} path "{asked.path}"'
        return errors.not_permitted("", "", "", said)
    whole = f"{asked.resource}/{asked.subresource}" if asked.subresource else asked.resource
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    said = f'User "{user}" cannot {asked.verb} resource "{whole}" in API group "{asked.group}" {where}'
    return errors.not_permitted(asked.group, asked.resource, asked.name, said)
