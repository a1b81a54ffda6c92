"""The volumes of one pod on its node: made, filled, kept up to date, with tokens that are renewed in time.

Knows which volume is what. Knows nothing of containers.
"""

import asyncio
import contextlib
import datetime
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from policy_controller.testing.kubelet.client import RefusedError
from policy_controller.testing.kubelet.containers import Bind
from policy_controller.testing.kubelet.contents import (
    ROOT_CA,
    Cupboard,
    MissingError,
    content_of,
    token_sources,
)
from policy_controller.testing.kubelet.places import Places
from policy_controller.testing.kubelet.spec import Container, PodSpec, SpecError, TokenSource, Volume
from policy_controller.testing.kubelet.volumes import VolumeDirectory

Json = dict[str, Any]

RENEWED_AFTER: Final = 0.8
"""Of a token's life. "Service account token volume projection": at 80 percent, or after 24 hours."""
AGAIN_SECONDS: Final = 0.5
"""After the API server gave no token."""
OPEN_TO_ALL: Final = 0o777


@dataclass(frozen=True, slots=True)
class Token:
    """A token and when it is to be replaced."""

    text: str
    renewal: datetime.datetime


class Furnishing:
    """The volumes of one pod; `volumes` are those of its spec and what admission added."""

    def __init__(self, places: Places, pod: Json, spec: PodSpec, volumes: Sequence[Volume]) -> None:
        self._places = places
        self._pod = pod
        self._spec = spec
        self._volumes = tuple(volumes)
        self._tokens: dict[TokenSource, Token] = {}
        self._renew = asyncio.Event()
        self.directory: Final = places.directory / "pods" / str(pod["metadata"]["uid"]) / "volumes"
        self._directories: dict[str, VolumeDirectory] = {}

    def fill(self, pod: Json) -> bool:
        """Make the volumes hold what they should now; whether anything changed. Raises MissingError, SpecError."""
        self._pod = pod
        tokens = {source: token.text for source, token in self._tokens.items()}
        cupboard = Cupboard(pod, self._lookup, tokens)
        changed = False
        for volume in self._volumes:
            content = content_of(volume, self._spec, cupboard)
            if content is not None:
                directory = self._directories.get(volume.name)
                if directory is None:
                    directory = self._directories[volume.name] = VolumeDirectory(self.directory / volume.name)
                changed |= directory.hold(content)
            elif volume.empty_dir is not None:
                path = self.directory / volume.name
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(OPEN_TO_ALL)
            elif volume.host_path is None:
                raise SpecError(f"volume {volume.name}: its kind is not played")
        return changed

    def binds(self, container: Container) -> tuple[Bind, ...]:
        """What the container sees of the volumes."""
        volumes = {volume.name: volume for volume in self._volumes}
        return tuple(
            Bind(self._source(volumes[mount.name]), mount.mount_path, mount.read_only)
            for mount in sorted(container.volume_mounts, key=lambda mount: mount.mount_path)
        )

    async def ask_for_tokens(self) -> None:
        """Every token that is missing, or is to be renewed by now. Raises RefusedError, and what HTTP raises."""
        now = datetime.datetime.now(datetime.UTC)
        for source in dict.fromkeys(token_sources(self._volumes)):
            known = self._tokens.get(source)
            if known is None or known.renewal <= now or self._renew.is_set():
                self._tokens[source] = await self._ask(source)
        self._renew.clear()

    def renew_tokens(self) -> None:
        """Replace all of them soon, whatever their age."""
        self._renew.set()

    async def keep_tokens(self, wake: asyncio.Event) -> None:
        """Renew tokens in time, until cancelled; `wake` is set when one has changed."""
        while self._tokens:
            now = datetime.datetime.now(datetime.UTC)
            due = min(token.renewal for token in self._tokens.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max((due - now).total_seconds(), 0)):
                    await self._renew.wait()
            try:
                await self.ask_for_tokens()
            except (RefusedError, aiohttp.ClientError, OSError):
                await asyncio.sleep(AGAIN_SECONDS)
            wake.set()

    def remove(self) -> None:
        """Remove every file of the pod."""
        shutil.rmtree(self.directory.parent, ignore_errors=True)

    def _source(self, volume: Volume) -> str:
        if volume.host_path is not None:
            path = self._places.disk_of(self._spec.node_name) / volume.host_path.path.lstrip("/")
            if volume.host_path.type == "DirectoryOrCreate":
                path.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                raise MissingError(f"hostPath {volume.host_path.path} does not exist")
            return str(path)
        return str(self.directory / volume.name)

    async def _ask(self, source: TokenSource) -> Token:
        metadata = self._pod["metadata"]
        bound = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        spec = {
            "audiences": [source.audience] if source.audience else [],
            "expirationSeconds": source.expiration_seconds,
            "boundObjectRef": bound,
        }
        made = datetime.datetime.now(datetime.UTC)
        account = self._spec.service_account_name
        status = await self._places.client.token(metadata["namespace"], account, spec)
        expires = datetime.datetime.fromisoformat(status["expirationTimestamp"])
        return Token(status["token"], made + (expires - made) * RENEWED_AFTER)

    def _lookup(self, kind: str, name: str) -> Json | None:
        found = self._places.picture.get(kind, self._pod["metadata"]["namespace"], name)
        if found is None and (kind, name) == ("ConfigMap", ROOT_CA):
            # In a cluster a controller writes it into every namespace.
            held: Mapping[str, str] = {"ca.crt": self._places.client.access.authority}
            return {"data": held}
        return found
