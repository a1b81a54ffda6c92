"""The operator's own requests to the API server, by kr8s: whole LISTs of a kind, Events, its own Secret and ConfigMap,
and questions about tokens.

Knows URLs, pages and credentials. Knows nothing of what is listed or of when to ask again. Whatever goes wrong is
raised; who calls decides how long to wait.
"""

import asyncio
import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import kopf
import kr8s
import kr8s.asyncio
import msgspec

from policy_controller.controller.decoding import decoded
from policy_controller.controller.kinds import KINDS, Kind
from policy_controller.controller.seen import version_of

PAGE: Final = 500
"""Objects a page of a LIST."""
SECONDS: Final = 60.0
"""How long one request may take."""
REVIEW_SECONDS: Final = 10.0
"""How long the question whose a token is may take: a node is waiting for the answer."""
REVIEWS: Final = "authentication.k8s.io/v1"
GONE: Final = 410
CONFLICT: Final = 409
ABSENT: Final = 404


class ListError(Exception):
    """A LIST that is not what the API promises."""


class Conflict(Exception):  # noqa: N818 - named as the API names it
    """Somebody else wrote the object first; what they wrote should be read."""


class AnswerError(Exception):
    """An answer that is not what the API promises."""


Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class OwnObject:
    """A Secret or ConfigMap that the operator keeps in its own namespace."""

    plural: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.plural} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a kind as they were at one version."""

    trees: tuple[object, ...]
    version: int


class ClusterApi(Protocol):
    """What the operator asks of the API server beside watching it."""

    async def list(self, kind: Kind) -> Listing:
        """All objects of a kind at one moment; raises when there is no whole answer."""
        ...

    async def create_event(self, namespace: str, event: Mapping[str, object]) -> None:
        """Write a core/v1 Event; one of that name that is there already is as good. Raises when it is not written."""
        ...


class OwnObjects(Protocol):
    """The Secrets and ConfigMaps that the operator keeps for itself."""

    async def read(self, place: OwnObject) -> Tree | None:
        """The object as it is now; None when there is none. Raises when that cannot be told."""
        ...

    async def create(self, place: OwnObject, tree: Tree) -> None:
        """Make it. Raises Conflict when there is one, and anything else when it is not made."""
        ...

    async def replace(self, place: OwnObject, tree: Tree) -> None:
        """Write it over the version that `tree` names. Raises Conflict when there is another one by now."""
        ...


class TokenReviews(Protocol):
    """The API server's word on a token of a service account."""

    async def review_token(self, token: str, audience: str) -> object:
        """The answered TokenReview, as it came; raises when there is no answer."""
        ...


class _Client:
    """A kr8s client of its own, made when it is first asked for.

    kr8s answers a refusal (401, 403) by reading the credentials anew and closing the client's session, whatever else is
    under way in it. So what may be refused by itself does not share a client.
    """

    def __init__(self, kubeconfig: str | None) -> None:
        self._kubeconfig = kubeconfig
        self._connected: kr8s.asyncio.Api | None = None
        self._connecting = asyncio.Lock()

    async def connected(self) -> kr8s.asyncio.Api:
        async with self._connecting:
            if self._connected is None:
                async with asyncio.timeout(SECONDS):
                    # kr8s.asyncio.api() would give every caller the same one.
                    self._connected = await kr8s.asyncio.Api(kubeconfig=self._kubeconfig, bypass_factory=True)
            return self._connected


class Kr8sApi:
    """ClusterApi over HTTP.

    Credentials come from the kubeconfig; without one from $KUBECONFIG, ~/.kube/config or the pod's service account. They
    are read, and the server is asked for its version, at the first request: until then nothing need be there.
    """

    def __init__(self, kubeconfig: str | None) -> None:
        # By versions that it was tried with; which ones are supported here, cluster_version.py says.
        warnings.filterwarnings("ignore", "Kubernetes version .* is not supported", UserWarning)
        self._lists = {kind: _Client(kubeconfig) for kind in Kind}
        self._events = _Client(kubeconfig)
        self._own: dict[OwnObject, _Client] = {}
        self._kubeconfig = kubeconfig
        self._reviews = _Client(kubeconfig)
        self._version = _Client(kubeconfig)
        self._credentials = _Client(kubeconfig)

    async def list(self, kind: Kind) -> Listing:
        """All objects of a kind, page by page, all of one moment; begins again once when that moment expires."""
        try:
            return await self._pages(kind, PAGE)
        except kr8s.ServerError as fault:
            if fault.response is None or fault.response.status_code != GONE:
                raise
        # A token that the server offers then would go on with another moment, and a deleted object could stay unseen.
        return await self._pages(kind, 0)

    async def create_event(self, namespace: str, event: Mapping[str, object]) -> None:
        """Write a core/v1 Event."""
        client = await self._events.connected()
        try:
            async with (
                asyncio.timeout(SECONDS),
                client.call_api(
                    "POST",
                    version="v1",
                    namespace=namespace,
                    url="events",
                    content=msgspec.json.encode(event),
                ),
            ):
                return
        except kr8s.ServerError as fault:
            if fault.response is None or fault.response.status_code != CONFLICT:
                raise

    async def version(self) -> object:
        """The document of /version."""
        client = await self._version.connected()
        async with (
            asyncio.timeout(SECONDS),
            client.call_api("GET", version="", base="/version") as response,
        ):
            return decoded(response.content)

    async def read(self, place: OwnObject) -> Tree | None:
        """The Secret or ConfigMap, or None."""
        try:
            answer = await self._ask_own("GET", place, f"{place.plural}/{place.name}")
        except kr8s.ServerError as fault:
            if fault.response is not None and fault.response.status_code == ABSENT:
                return None
            raise
        if not isinstance(answer, dict) or not isinstance(answer.get("metadata"), dict):
            raise AnswerError(f"the answer for {place} is no such object")
        return answer

    async def create(self, place: OwnObject, tree: Tree) -> None:
        """Make a Secret or ConfigMap."""
        await self._write_own("POST", place, place.plural, tree)

    async def replace(self, place: OwnObject, tree: Tree) -> None:
        """Write a Secret or ConfigMap over the version that was read."""
        await self._write_own("PUT", place, f"{place.plural}/{place.name}", tree)

    async def review_token(self, token: str, audience: str) -> object:
        """Ask the API server whose a token is."""
        client = await self._reviews.connected()
        spec = {"token": token, "audiences": [audience]}
        review = {"apiVersion": REVIEWS, "kind": "TokenReview", "spec": spec}
        async with (
            asyncio.timeout(REVIEW_SECONDS),
            client.call_api(
                "POST", version=REVIEWS, url="tokenreviews", content=msgspec.json.encode(review)
            ) as response,
        ):
            return decoded(response.content)

    async def connection(self) -> kopf.ConnectionInfo:
        """The same credentials for kopf, read again from where they come from: tokens expire."""
        auth = (await self._credentials.connected()).auth
        async with asyncio.timeout(SECONDS):
            await auth.reauthenticate()
            context = await auth.ssl_context()  # type: ignore[no-untyped-call] # kr8s leaves it untyped
        return kopf.ConnectionInfo(
            server=auth.server,
            ca_path=auth.server_ca_file,
            insecure=isinstance(context, ssl.SSLContext) and context.verify_mode is ssl.CERT_NONE,
            token=auth.token,
            certificate_path=auth.client_cert_file,
            private_key_path=auth.client_key_file,
            proxy_url=auth.proxy,
        )

    async def _write_own(self, method: str, place: OwnObject, url: str, tree: Tree) -> None:
        try:
            await self._ask_own(method, place, url, tree)
        except kr8s.ServerError as fault:
            if fault.response is not None and fault.response.status_code == CONFLICT:
                raise Conflict(str(place)) from fault
            raise

    async def _ask_own(self, method: str, place: OwnObject, url: str, tree: Tree | None = None) -> object:
        client = await self._own.setdefault(place, _Client(self._kubeconfig)).connected()
        content = None if tree is None else msgspec.json.encode(tree)
        async with (
            asyncio.timeout(SECONDS),
            client.call_api(
                method, version="v1", namespace=place.namespace, url=url, content=content
            ) as response,
        ):
            return decoded(response.content)

    async def _pages(self, kind: Kind, limit: int) -> Listing:
        trees: list[object] = []
        version, token = 0, ""
        while True:
            page = await self._page(kind, limit, token)
            metadata = page["metadata"]
            version = version or version_of(metadata.get("resourceVersion"))
            trees.extend(_items(page, kind))
            token = metadata.get("continue") or ""
            if not token:
                return Listing(tuple(trees), version)

    async def _page(self, kind: Kind, limit: int, token: str) -> dict[str, Any]:
        row = KINDS[kind]
        params = {"limit": str(limit)} | ({"continue": token} if token else {})
        client = await self._lists[kind].connected()
        async with (
            asyncio.timeout(SECONDS),
            client.call_api("GET", version=row.api_version, url=row.plural, params=params) as response,
        ):
            page = decoded(response.content)
        if not isinstance(page, dict) or not isinstance(page.get("metadata"), dict):
            raise ListError(f"the list of {row.plural} is not a list")
        # Taken for a list of nothing, another document would end every policy there is.
        if page.get("kind") != f"{kind.value}List" or "items" not in page:
            raise ListError(f"the list of {row.plural} is another document, or without items")
        if not page["metadata"].get("resourceVersion"):
            raise ListError(f"the list of {row.plural} has no resourceVersion")
        return page


def _items(page: Mapping[str, Any], kind: Kind) -> list[object]:
    # Go writes an empty list as null where nothing made it a list.
    items = [] if page["items"] is None else page["items"]
    if not isinstance(items, list):
        raise ListError(f"the items of the list of {KINDS[kind].plural} are not a list")
    # Items of a typed list carry neither kind nor apiVersion: the list says both.
    stated = {"apiVersion": KINDS[kind].api_version, "kind": kind.value}
    return [stated | item if isinstance(item, dict) else item for item in items]
