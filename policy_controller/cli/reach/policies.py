"""Which version of its policies the API server holds now, by kr8s or by kubectl.

Knows NetworkPolicies by name, uid and version. Knows nothing of what they say.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import httpx
import kr8s
import kr8s.asyncio
import msgspec

from policy_controller.cli.reach.kubectl import printed, spoken
from policy_controller.cli.reach.kubernetes import connected, private_folder, refused
from policy_controller.cli.reach.way import NotReached, Way

API: Final = "networking.k8s.io/v1"
PLURAL: Final = "networkpolicies"
PAGE: Final = 500


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A policy as the API server holds it. `version` is 0 where the resourceVersion is not a number."""

    namespace: str
    name: str
    version: int


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    namespace: str
    resource_version: str = ""

    @property
    def version(self) -> int:
        text = self.resource_version
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0


class _ListMetadata(msgspec.Struct, rename={"token": "continue"}):
    token: str = ""


class _Item(msgspec.Struct):
    metadata: _Metadata


class _List(msgspec.Struct):
    items: Sequence[_Item] | None
    metadata: _ListMetadata = msgspec.field(default_factory=_ListMetadata)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where policies are looked for; without a namespace in that of the kubeconfig's context, else in `default`."""

    namespace: str | None = None
    everywhere: bool = False


async def held(way: Way, scope: Scope, name: str | None) -> tuple[Held, ...]:
    """The policies of a scope, or the one of this name, sorted. Raises NotReached.

    The name is one that an object can have.
    """
    try:
        return await _by_kr8s(way, scope, name)
    except NotReached as first:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise
        try:
            return await _by_kubectl(way, kubectl, scope, name)
        except NotReached as second:
            raise NotReached(f"{first}\nkubectl: {second}") from first


async def _by_kr8s(way: Way, scope: Scope, name: str | None) -> tuple[Held, ...]:
    found: list[Held] = []
    with private_folder():
        api = await connected(way)
        namespace = None if scope.everywhere else scope.namespace or api.namespace
        params = {"limit": str(PAGE)} | ({"fieldSelector": f"metadata.name={name}"} if name else {})
        while True:
            page = await _page(api, namespace, params)
            found += _read(page)
            if not page.metadata.token:
                return tuple(sorted(found))
            params["continue"] = page.metadata.token


async def _page(api: kr8s.asyncio.Api, namespace: str | None, params: dict[str, str]) -> _List:
    # kr8s takes "" for no namespace, and None for that of its context.
    listing = api.call_api("GET", version=API, namespace=namespace or "", url=PLURAL, params=params)
    where = f"in namespace {namespace}" if namespace else "in all namespaces"
    try:
        async with listing as response:
            return _listed(response.content)
    except httpx.HTTPError as fault:
        raise NotReached(f"the API server is not reached: {fault}") from fault
    except kr8s.ServerError as fault:
        raise refused(fault, f"`list` on {PLURAL} {where}") from fault


async def _by_kubectl(way: Way, kubectl: str, scope: Scope, name: str | None) -> tuple[Held, ...]:
    words = [*spoken(way, kubectl), "get", f"{PLURAL}.networking.k8s.io", "-o", "json"]
    if scope.everywhere:
        words.append("--all-namespaces")
    elif scope.namespace is not None:
        words.append(f"--namespace={scope.namespace}")
    if name is not None:
        words.append(f"--field-selector=metadata.name={name}")
    return tuple(sorted(_read(_listed(await printed(*words)))))


def _listed(content: bytes) -> _List:
    try:
        return msgspec.json.decode(content, type=_List)
    except msgspec.MsgspecError as fault:
        raise NotReached(f"the API server's list of policies cannot be read: {fault}") from fault


def _read(page: _List) -> list[Held]:
    return [
        Held(item.metadata.namespace, item.metadata.name, item.metadata.version) for item in page.items or ()
    ]
