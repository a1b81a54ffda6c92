"""Tokens of service accounts: made by this server, known only to it.

A token is a random text, no signed document: whoever wants to know what it stands for must ask for a TokenReview.
"""

import datetime
import secrets
from dataclasses import dataclass
from typing import Final

import msgspec

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.access.identity import Identity, account_groups, account_user
from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.resources import BY_KIND, Resource
from policy_controller.testing.api_server.store import Key, Store, Stored
from policy_controller.testing.api_server.surroundings import Clock, timestamp

AUDIENCE: Final = "https://kubernetes.default.svc.cluster.local"
LIFETIME_SECONDS: Final = 3_600
SHORTEST_SECONDS: Final = 600
_BINDABLE: Final = {("v1", "Pod"): "pod", ("v1", "Node"): "node", ("v1", "Secret"): "secret"}
_REQUEST: Final = Resource("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests")
_EXTRA: Final = "authentication.kubernetes.io"


class _Bound(msgspec.Struct):
    kind: str = ""
    apiVersion: str = "v1"  # noqa: N815 - the API's spelling
    name: str = ""
    uid: str = ""


class _Asked(msgspec.Struct):
    audiences: list[str] = []
    expirationSeconds: int = LIFETIME_SECONDS  # noqa: N815 - the API's spelling
    boundObjectRef: _Bound | None = None  # noqa: N815 - the API's spelling


@dataclass(frozen=True, slots=True)
class Made:
    """A token's meaning: whose it is, for whom, until when, and the objects that must still be there."""

    identity: Identity
    audiences: tuple[str, ...]
    expires: datetime.datetime
    bound: tuple[tuple[Resource, Key, str], ...]


class Tokens:
    """The tokens of one server."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._made: dict[str, Made] = {}

    def make(self, account: Stored, resource: Resource, spec: JsonObject) -> JsonObject:
        """The status of a TokenRequest for a service account.

        Raises:
            ApiError: 400, 404 (no such bound object), 409 (another one of its name), 422.
        """
        try:
            asked = msgspec.convert(spec, _Asked)
        except msgspec.ValidationError as fault:
            raise errors.bad_request(f"TokenRequest cannot be decoded: spec: {fault}") from fault
        if asked.expirationSeconds < SHORTEST_SECONDS:
            detail = "may not specify a duration less than 10 minutes"
            at = "spec.expirationSeconds"
            too_short = FieldFault(at, Fault.INVALID, detail, asked.expirationSeconds)
            raise errors.invalid(_REQUEST, "", [too_short])
        namespace, name = account.key
        uid = metadata_of(account.body())["uid"]
        bound = [(resource, account.key, uid)]
        extra: dict[str, tuple[str, ...]] = {}
        if asked.boundObjectRef is not None:
            held, word = self._bound(asked.boundObjectRef, namespace)
            bound.append(held)
            extra = {f"{_EXTRA}/{word}-name": (held[1].name,), f"{_EXTRA}/{word}-uid": (held[2],)}
        expires = self._clock.now() + datetime.timedelta(seconds=asked.expirationSeconds)
        identity = Identity(account_user(namespace, name), account_groups(namespace), uid, extra)
        token = secrets.token_urlsafe(48)
        self._made[token] = Made(identity, tuple(asked.audiences) or (AUDIENCE,), expires, tuple(bound))
        return {"token": token, "expirationTimestamp": timestamp(expires)}

    def _bound(self, asked: _Bound, namespace: str) -> tuple[tuple[Resource, Key, str], str]:
        word = _BINDABLE.get((asked.apiVersion, asked.kind))
        if word is None:
            raise errors.bad_request(f"cannot bind token for serviceaccount to object of type {asked.kind}")
        resource = BY_KIND[asked.apiVersion, asked.kind]
        key = Key("" if word == "node" else namespace, asked.name)
        stored = self._store.get(resource.storage, key)
        if stored is None:
            raise errors.not_found(resource, asked.name)
        uid = metadata_of(stored.body())["uid"]
        if asked.uid not in {"", uid}:
            why = f"the UID in the bound object reference ({asked.uid}) does not match the UID in record"
            raise errors.conflict(resource, asked.name, why)
        return (resource, key, uid), word

    def read(self, token: str) -> Made | None:
        """What a token stands for; None when it is unknown, expired, or for an object that is gone."""
        made = self._made.get(token)
        if made is None or made.expires <= self._clock.now():
            return None
        return made if all(self._lives(*one) for one in made.bound) else None

    def _lives(self, resource: Resource, key: Key, uid: str) -> bool:
        stored = self._store.get(resource.storage, key)
        return stored is not None and metadata_of(stored.body())["uid"] == uid
