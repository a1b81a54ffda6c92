"""Tokens of service accounts: signed documents, as a real API server makes them, and whether they still hold.

Knows TokenRequests, what a token can be bound to and when it ends. It ends at its `exp`, without the minute of grace
that a real server adds.
"""

import datetime
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.access.claims import Claims, Ref, Subject
from policy_controller.testing.api_server.access.identity import Identity, account_user
from policy_controller.testing.api_server.access.signed import Seal
from policy_controller.testing.api_server.documents import JsonObject, body_of, metadata_of
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.features import Features, NodeClaims
from policy_controller.testing.api_server.resources import BY_KIND, Resource
from policy_controller.testing.api_server.store import Key, Store, Stored
from policy_controller.testing.api_server.surroundings import Clock, timestamp

AUDIENCE: Final = "https://kubernetes.default.svc.cluster.local"
"""The API server's own, and the issuer's name."""

LIFETIME_SECONDS: Final = 3_600
GONE_SECONDS: Final = 60
"""How long after the end of its pod's grace a token is still good, when the pod is still there."""

_INVALID: Final = "invalid bearer token"
_BINDABLE: Final[Mapping[tuple[str, str], str]] = {
    ("v1", "Pod"): "pod",
    ("v1", "Node"): "node",
    ("v1", "Secret"): "secret",
}
_REQUEST: Final = Resource("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests")
_ACCOUNTS: Final = BY_KIND["v1", "ServiceAccount"]
_NODES: Final = BY_KIND["v1", "Node"]


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
    """A token's meaning: whose it is, and for whom."""

    identity: Identity
    audiences: tuple[str, ...]


class TokenRefusedError(Exception):
    """A token does not hold; the text says why, in the words of a real server's TokenReview."""

    def __init__(self, why: str = "") -> None:
        super().__init__(f"[{_INVALID}, {why}]" if why else _INVALID)


class Tokens:
    """The tokens of one server."""

    def __init__(self, store: Store, clock: Clock, features: Features) -> None:
        self._store = store
        self._clock = clock
        self._features = features
        self._seal = Seal()

    def answer(self, account: Stored, spec: JsonObject) -> tuple[JsonObject, JsonObject]:
        """The spec, filled in, and the status of a TokenRequest for a service account.

        Raises:
            ApiError: 400, 404 (no such bound object), 409 (another one of its name), 422.
        """
        try:
            asked = msgspec.convert(spec, _Asked)
        except msgspec.ValidationError as fault:
            raise errors.bad_request(f"TokenRequest cannot be decoded: spec: {fault}") from fault
        if asked.expirationSeconds < self._features.shortest_seconds:
            shortest = datetime.timedelta(seconds=self._features.shortest_seconds)
            detail = f"may not specify a duration less than {_spoken(shortest)}"
            at = "spec.expirationSeconds"
            raise errors.invalid(
                _REQUEST, "", [FieldFault(at, Fault.INVALID, detail, asked.expirationSeconds)]
            )
        audiences = asked.audiences or [AUDIENCE]
        subject = self._subject(account, asked.boundObjectRef)
        token, expires = self.make(subject, audiences, datetime.timedelta(seconds=asked.expirationSeconds))
        filled = {**spec, "audiences": audiences, "expirationSeconds": asked.expirationSeconds}
        return filled, {"token": token, "expirationTimestamp": timestamp(expires)}

    def make(
        self, subject: Subject, audiences: list[str], life: datetime.timedelta
    ) -> tuple[str, datetime.datetime]:
        """A token and the end of its life, which may be over already."""
        now = self._clock.now()
        expires = now + life
        begun = int(min(now, expires).timestamp())
        claims = Claims(
            aud=audiences,
            exp=int(expires.timestamp()),
            iat=begun,
            iss=AUDIENCE,
            jti="" if self._features.node_claims is NodeClaims.NONE else str(uuid.uuid4()),
            kubernetes=subject,
            nbf=begun,
            sub=account_user(subject.namespace, subject.serviceaccount.name),
        )
        return self._seal.sign(msgspec.json.encode(claims)), expires

    def subject(self, namespace: str, account: str, pod: str | None) -> Subject:
        """What a token of an account says, bound to a pod or to nothing.

        Raises:
            ApiError: 400, 404.
        """
        stored = self._store.get(_ACCOUNTS.storage, Key(namespace, account))
        if stored is None:
            raise errors.not_found(_ACCOUNTS, account)
        return self._subject(stored, None if pod is None else _Bound("Pod", name=pod))

    def _subject(self, account: Stored, asked: _Bound | None) -> Subject:
        namespace, name = account.key
        own = Ref(name, _uid(account))
        if asked is None:
            return Subject(namespace, own)
        word = _BINDABLE.get((asked.apiVersion, asked.kind))
        if word is None or (word == "node" and self._features.node_claims is NodeClaims.NONE):
            raise errors.bad_request(f"cannot bind token for serviceaccount to object of type {asked.kind}")
        resource = BY_KIND[asked.apiVersion, asked.kind]
        stored = self._store.get(resource.storage, Key("" if word == "node" else namespace, asked.name))
        if stored is None:
            raise errors.not_found(resource, asked.name)
        uid = _uid(stored)
        if asked.uid not in {"", uid}:
            why = f"the UID in the bound object reference ({asked.uid}) does not match the UID in record"
            raise errors.conflict(resource, asked.name, why)
        bound = {word: Ref(asked.name, uid)}
        if word == "pod":
            bound |= self._node(name, stored)
        return Subject(namespace, own, **bound)

    def _node(self, account: str, pod: Stored) -> dict[str, Ref]:
        """The claim about the node that a pod runs on, where there is one."""
        spec = pod.body().get("spec", {})
        # API reference: "ServiceAccountName is the name of the ServiceAccount to use to run this pod"; the real
        # server's admission writes "default" there.
        if (spec.get("serviceAccountName") or "default") != account:
            why = "to pod running with different serviceaccount name."
            raise errors.bad_request(f'cannot bind token for serviceaccount "{account}" {why}')
        node = spec.get("nodeName")
        if not node or self._features.node_claims is NodeClaims.NONE:
            return {}
        stored = self._store.get(_NODES.storage, Key("", node))
        return {"node": Ref(node, "" if stored is None else _uid(stored))}

    def read(self, token: str) -> Made:
        """What a token stands for.

        Raises:
            TokenRefusedError: it was not made here, has expired, or is for an object that is gone or another now.
        """
        content = self._seal.read(token)
        if content is None:
            raise TokenRefusedError
        claims = msgspec.json.decode(content, type=Claims)
        if claims.exp <= self._clock.now().timestamp():
            raise TokenRefusedError("service account token has expired")
        if self._clock.now().timestamp() < claims.nbf:
            raise TokenRefusedError("service account token is not valid yet")
        self._check_objects(claims.kubernetes)
        return Made(claims.identity(), tuple(claims.aud))

    def _check_objects(self, subject: Subject) -> None:
        account = self._store.get(_ACCOUNTS.storage, Key(subject.namespace, subject.serviceaccount.name))
        if account is None:
            raise TokenRefusedError(f'serviceaccounts "{subject.serviceaccount.name}" not found')
        if _uid(account) != subject.serviceaccount.uid:
            why = f"does not match claim ({subject.serviceaccount.uid})"
            raise TokenRefusedError(f"service account UID ({_uid(account)}) {why}")
        # The node of a pod's token is not asked for: the pod is.
        node = subject.node if subject.pod is None else None
        for kind, ref in (("Pod", subject.pod), ("Secret", subject.secret), ("Node", node)):
            if ref is not None:
                namespace = "" if kind == "Node" else subject.namespace
                self._check(BY_KIND["v1", kind], Key(namespace, ref.name), ref.uid)

    def _check(self, resource: Resource, key: Key, uid: str) -> None:
        stored = self._store.get(resource.storage, key)
        if stored is None or self._is_overdue(stored):
            raise TokenRefusedError("service account token has been invalidated")
        if _uid(stored) != uid:
            word = resource.kind.lower()
            why = f"does not match service account {word} ref claim ({uid})"
            raise TokenRefusedError(f"{word} UID ({_uid(stored)}) {why}")

    def _is_overdue(self, stored: Stored) -> bool:
        """Whether an object should be gone since GONE_SECONDS."""
        end = metadata_of(body_of(stored.raw)).get("deletionTimestamp")
        if end is None:
            return False
        late = self._clock.now() - datetime.datetime.fromisoformat(end)
        return late > datetime.timedelta(seconds=GONE_SECONDS)


def _uid(stored: Stored) -> str:
    uid: str = metadata_of(stored.body())["uid"]
    return uid


def _spoken(life: datetime.timedelta) -> str:
    minutes, seconds = divmod(int(life.total_seconds()), 60)
    return f"{minutes} minutes" if not seconds else f"{int(life.total_seconds())} seconds"
