"""A running API server and the in-process way into it.

Knows how to listen, what a kubeconfig looks like and how to write objects without HTTP. The in-process writes go
through the same rules as requests, except that they set status together with the rest and delete without grace.
"""

import base64
import contextlib
import datetime
import ipaddress
from collections.abc import AsyncIterator
from typing import Final, Self

import yaml
from aiohttp import web

from policy_controller.testing.api_server import errors
from policy_controller.testing.api_server.access import (
    BOOTSTRAP,
    Authenticator,
    Gate,
    Record,
    Reviews,
    Tokens,
)
from policy_controller.testing.api_server.access.rbac import Authorizer
from policy_controller.testing.api_server.access.telling import Telling
from policy_controller.testing.api_server.access.tokens import AUDIENCE, LIFETIME_SECONDS
from policy_controller.testing.api_server.certificates import USUAL_NAMES, CertificateAuthority
from policy_controller.testing.api_server.deletes import DeleteOptions, Deleter
from policy_controller.testing.api_server.documents import JsonObject, alone, body_of, metadata_of
from policy_controller.testing.api_server.doors import Doors
from policy_controller.testing.api_server.doors.control import Control
from policy_controller.testing.api_server.faults import Faults
from policy_controller.testing.api_server.faults import middleware as faulty
from policy_controller.testing.api_server.features import (
    PLAIN,
    Features,
    Kubelet,
    Permission,
    Transport,
)
from policy_controller.testing.api_server.following import Follower
from policy_controller.testing.api_server.http import Face
from policy_controller.testing.api_server.manners import Manner, Part
from policy_controller.testing.api_server.namespaces import INITIAL
from policy_controller.testing.api_server.parts import Parts
from policy_controller.testing.api_server.resources import (
    BY_KIND,
    NAMESPACES,
    RESOURCES,
    Keeping,
    Resource,
    Scope,
)
from policy_controller.testing.api_server.store import Key, Store
from policy_controller.testing.api_server.surroundings import Clock, Identities, RandomIdentities, SystemClock
from policy_controller.testing.api_server.verbs import Verbs
from policy_controller.testing.api_server.writes import Target, Validation, Writer

BOOKMARK_SECONDS: Final = 60.0
SHUTDOWN_SECONDS: Final = 1.0  # watches are ended first; this is for requests in flight
CONTEXT: Final = "development"


class ApiServer:
    """A development Kubernetes API server; nothing is kept after it stops.

    Args:
        validate: False stores malformed objects as they come, as an older server may have them stored.
        bookmark_seconds: the pause between the bookmarks of a watch.
        clock: for creationTimestamp and deletionTimestamp.
        identities: for uid and generateName.
        faults: what goes wrong on demand; None: nothing does.
        features: TLS, authorisation, how tokens look, whether somebody runs pods.
    """

    def __init__(
        self,
        *,
        validate: bool = True,
        bookmark_seconds: float = BOOKMARK_SECONDS,
        clock: Clock | None = None,
        identities: Identities | None = None,
        faults: Faults | None = None,
        features: Features = PLAIN,
    ) -> None:
        clock = clock or SystemClock()
        validation = Validation.STRICT if validate else Validation.LENIENT
        self._store = Store()
        self._writer = Writer(self._store, clock, identities or RandomIdentities(), validation)
        self._deleter = Deleter(self._store, clock)
        self._features = features
        self._authority = CertificateAuthority() if features.transport is Transport.TLS else None
        self._tokens = Tokens(self._store, clock, features)
        self._authenticator = Authenticator(self._tokens)
        self.record = Record()
        """What was asked of a server that authorises, and by whom."""
        authorizer = Authorizer(self._store)
        self._gate = Gate(self._authenticator, authorizer, features.permission, self.record)
        reviews = Reviews(self._authenticator, authorizer)
        follower = Follower(self._store, bookmark_seconds)
        verbs = Verbs(self._store, self._writer, self._deleter, reviews, follower)
        self.doors = Doors()
        """How pods are reached that somebody runs for this server."""
        parts = Parts(self._store, self._writer, self._deleter, self._tokens, self.doors)
        own: list[web.RouteDef] = []
        if features.permission is Permission.AUTHORIZED:
            own += Telling(self.record).routes()
        if features.kubelet is Kubelet.PLAYED:
            own += Control(self.doors).routes()
        self._face = Face(verbs, parts, clock, self._gate, own)
        self._faults = faults
        self._address = ""
        for name in INITIAL:
            self._writer.create(NAMESPACES, "", {"metadata": {"name": name}})
        for document in BOOTSTRAP:
            self.create(document)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        validate: bool = True,
        bookmark_seconds: float = BOOKMARK_SECONDS,
        faults: Faults | None = None,
        features: Features = PLAIN,
    ) -> AsyncIterator[Self]:
        """A server that listens while the context is entered; port 0 takes any free one."""
        server = cls(validate=validate, bookmark_seconds=bookmark_seconds, faults=faults, features=features)
        async with server.listening(host, port):
            yield server

    @contextlib.asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[None]:
        """Listens while entered; what is stored outlives it, so a server can go away and come back."""
        around = () if self._faults is None else (faulty(self._faults, self._gate.admit),)
        runner = web.AppRunner(
            self._face.application(*around),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        reached = _reached(host)
        context = None
        if self._authority is not None:
            context = self._authority.server_context((reached, *USUAL_NAMES, *self._features.names))
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port, ssl_context=context).start()
            bound_port = runner.addresses[0][1]
            self._address = f"[{reached}]:{bound_port}" if ":" in reached else f"{reached}:{bound_port}"
            with contextlib.nullcontext() if self._faults is None else self._faults.serving():
                yield
        finally:
            self.close_watches()
            await runner.cleanup()

    @property
    def url(self) -> str:
        """Where it listens, e.g. `http://127.0.0.1:41234`."""
        return f"{self._features.transport.value}://{self._address}"

    @property
    def authority(self) -> str:
        """The CA that clients must trust, as PEM; "" without TLS."""
        return "" if self._authority is None else self._authority.pem

    @property
    def developer_token(self) -> str:
        """The token of whoever may do everything."""
        return self._authenticator.developer_token

    def token(
        self,
        account: str,
        namespace: str = "default",
        *,
        audience: str = AUDIENCE,
        pod: str | None = None,
        seconds: float = LIFETIME_SECONDS,
    ) -> str:
        """A token of a service account, bound to a pod or to nothing. No life is too short, nor over (below zero).

        Raises:
            ApiError: 400, 404.
        """
        subject = self._tokens.subject(namespace, account, pod)
        return self._tokens.make(subject, [audience], datetime.timedelta(seconds=seconds))[0]

    def kubeconfig(self, token: str | None = None) -> str:
        """A kubeconfig for this server, as YAML: with its developer's token, where tokens matter, or another."""
        cluster = {"server": self.url}
        user = {} if token is None else {"token": token}
        if self._authority is not None:
            cluster["certificate-authority-data"] = base64.b64encode(self.authority.encode()).decode()
        if token is None and self._features.permission is Permission.AUTHORIZED:
            user["token"] = self.developer_token
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": CONTEXT, "cluster": cluster}],
                "users": [{"name": CONTEXT, "user": user}],
                "contexts": [
                    {
                        "name": CONTEXT,
                        "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"},
                    }
                ],
                "current-context": CONTEXT,
            }
        )

    @property
    def resource_version(self) -> int:
        """The number of the latest write."""
        return self._store.version

    def create(self, document: JsonObject) -> JsonObject:
        """Creates an object, status included; a namespaced one without a namespace goes to `default`.

        Raises:
            ApiError: what a POST would answer.
        """
        resource, namespace = _place_of(document)
        stored = self._writer.create(resource, namespace, document, Manner(part=Part.WHOLE))
        return body_of(alone(resource, stored.raw))

    def apply(self, document: JsonObject) -> JsonObject:
        """Creates an object or replaces all of it, status included, whatever version is stored.

        Raises:
            ApiError: what a POST or PUT would answer.
        """
        resource, namespace = _place_of(document)
        target = Target(resource, Key(namespace, metadata_of(document).get("name", "")))
        metadata = {name: value for name, value in metadata_of(document).items() if name != "resourceVersion"}
        document = {**document, "metadata": metadata}
        if self._store.get(target.shelf, target.key) is None:
            return self.create(document)
        stored, _ = self._writer.replace(target, document, Manner(part=Part.WHOLE))
        return body_of(alone(resource, stored.raw))

    def get(self, kind: str, name: str, namespace: str | None = None) -> JsonObject:
        """An object by kind and name.

        Raises:
            ApiError: 404.
        """
        resource = _resource_of(kind)
        stored = self._store.get(resource.storage, _key(resource, name, namespace))
        if stored is None:
            raise errors.not_found(resource, name)
        return body_of(alone(resource, stored.raw))

    def list(self, kind: str, namespace: str | None = None) -> list[JsonObject]:
        """All objects of a kind, in order; of all namespaces when none is named."""
        resource = _resource_of(kind)
        return [
            body_of(alone(resource, stored.raw))
            for stored in self._store.objects(resource.storage, namespace)
        ]

    def delete(self, kind: str, name: str, namespace: str | None = None, grace_seconds: int = 0) -> None:
        """Deletes an object; without grace, as when its node confirms that the pod has ended.

        Raises:
            ApiError: 403, 404.
        """
        resource = _resource_of(kind)
        options = DeleteOptions(grace_seconds=grace_seconds)
        self._deleter.delete(Target(resource, _key(resource, name, namespace)), options)

    def compact(self) -> int:
        """Forgets all history: older versions are answered with 410 from now on. Returns the present version."""
        return self._store.compact()

    @property
    def open_watches(self) -> int:
        """How many watches are being served."""
        return len(self._store.subscriptions())

    def close_watches(self) -> None:
        """Ends all watches, as a restarting server does."""
        for subscription in self._store.subscriptions():
            subscription.close()


def _reached(host: str) -> str:
    """The address under which a server on this machine is reached that listens on a host's address, or on any."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _resource_of(kind: str) -> Resource:
    found = next((row for row in RESOURCES if row.kind == kind), None)
    if found is None:
        raise errors.no_such_path()
    return found


def _key(resource: Resource, name: str, namespace: str | None) -> Key:
    return Key((namespace or "default") if resource.scope is Scope.NAMESPACED else "", name)


def _place_of(document: JsonObject) -> tuple[Resource, str]:
    resource = BY_KIND.get((document.get("apiVersion", ""), document.get("kind", "")))
    if resource is None or resource.keeping is Keeping.ANSWERED:
        raise errors.no_such_path()
    return resource, _key(resource, "", metadata_of(document).get("namespace")).namespace
