"""The settings of the whole cluster, written into their ConfigMap with the user's credentials.

Knows the ConfigMap and how one key of it is changed. Knows nothing of what a setting does: the operator reads it.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import httpx
import kr8s
import kr8s.asyncio
import msgspec

from compilers.model.settings import CONFIG_MAP, Enforcement
from compilers.parse.settings import ENFORCEMENT
from policy_controller.cli.reach.kubernetes import connected, private_folder, refused
from policy_controller.cli.reach.way import SECONDS, NotReached, Way

ABSENT: Final = 404
CONFLICT: Final = 409
MERGE_PATCH: Final = {"Content-Type": "application/merge-patch+json"}
LABELS: Final = {"app.kubernetes.io/name": "policy-controller"}


class _Refusal(Exception):  # noqa: N818 - carries an answer
    """The API server's answer to a write, and the permission that it takes."""

    def __init__(self, status: int, told: NotReached) -> None:
        super().__init__(status)
        self.status = status
        self.told = told


async def choose(way: Way, enforcement: Enforcement) -> None:
    """Write it, in a ConfigMap that is there or a new one; other keys stay as they are. Raises NotReached."""
    data = {"data": {ENFORCEMENT: enforcement.value}}
    metadata = {"name": CONFIG_MAP, "namespace": way.namespace, "labels": LABELS}
    new = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata} | data
    try:
        with private_folder():
            async with asyncio.timeout(SECONDS):
                api = await connected(way)
                try:
                    await _patch(api, way, data)
                except _Refusal as refusal:
                    if refusal.status != ABSENT:
                        raise
                    try:
                        await _write(api, way, "POST", "configmaps", new)
                    except _Refusal as second:
                        if second.status != CONFLICT:
                            raise
                        # Somebody else has made it meanwhile.
                        await _patch(api, way, data)
    except _Refusal as refusal:
        raise refusal.told from refusal
    except TimeoutError:
        raise NotReached(f"the API server does not answer within {SECONDS:.0f} s") from None


async def _patch(api: kr8s.asyncio.Api, way: Way, data: Mapping[str, object]) -> None:
    await _write(api, way, "PATCH", f"configmaps/{CONFIG_MAP}", data)


async def _write(api: kr8s.asyncio.Api, way: Way, method: str, url: str, tree: Mapping[str, object]) -> None:
    verb = "patch" if method == "PATCH" else "create"
    headers = MERGE_PATCH if method == "PATCH" else None
    content = msgspec.json.encode(tree)
    try:
        async with api.call_api(
            method, version="v1", namespace=way.namespace, url=url, content=content, headers=headers
        ):
            pass
    except httpx.HTTPError as fault:
        raise NotReached(f"the API server is not reached: {fault}") from fault
    except kr8s.ServerError as fault:
        status = fault.response.status_code if fault.response is not None else 0
        told = refused(fault, f"`{verb}` on configmaps in namespace {way.namespace}")
        raise _Refusal(status, told) from fault
