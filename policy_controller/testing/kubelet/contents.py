"""What a pod's volumes hold: from ConfigMaps, Secrets, fields and tokens.

Pure: looks things up in what it is given. Sources: the API's KeyToPath, ConfigMapProjection, ServiceAccountTokenProjection.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from policy_controller.testing.kubelet.environment import field_of
from policy_controller.testing.kubelet.spec import (
    FieldFile,
    FieldFiles,
    FieldRef,
    Keys,
    PodSpec,
    Projected,
    Source,
    TokenSource,
    Volume,
    VolumeMount,
)
from policy_controller.testing.kubelet.volumes import Content, File

Json = dict[str, Any]

ACCOUNT_VOLUME: Final = "kube-api-access"
ACCOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
ACCOUNT_TOKEN: Final = TokenSource(path="token", expiration_seconds=3607)
"""As the API server's admission adds it; no audience means the API server's own."""
ROOT_CA: Final = "kube-root-ca.crt"
"""The ConfigMap of every namespace with which pods check the API server."""


class MissingError(Exception):
    """Something that a pod needs is not there; the text names it. A kubelet waits for it."""


@dataclass(frozen=True, slots=True)
class Cupboard:
    """Where content comes from. `lookup(kind, name)` is the ConfigMap or Secret of the pod's namespace, or None."""

    pod: Json
    lookup: Callable[[str, str], Json | None]
    tokens: Mapping[TokenSource, str]


def with_account_volume() -> tuple[Volume, VolumeMount]:
    """The volume with which programs of a pod find the API server, and where each container has it."""
    fields = FieldFiles(
        items=[FieldFile(path="namespace", field_ref=FieldRef(field_path="metadata.namespace"))]
    )
    sources = [
        Source(service_account_token=ACCOUNT_TOKEN),
        Source(config_map=Keys(name=ROOT_CA)),
        Source(downward_api=fields),
    ]
    mount = VolumeMount(name=ACCOUNT_VOLUME, mount_path=ACCOUNT_PATH, read_only=True)
    return Volume(name=ACCOUNT_VOLUME, projected=Projected(sources=sources)), mount


def token_sources(volumes: Iterable[Volume]) -> Iterator[TokenSource]:
    """Every token that the volumes ask for."""
    for volume in volumes:
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.service_account_token is not None:
                yield source.service_account_token


def content_of(volume: Volume, spec: PodSpec, cupboard: Cupboard) -> Content | None:
    """What the volume holds now; None for one that is no copy of anything. Raises MissingError."""
    group = spec.security_context.fs_group
    if volume.config_map is not None:
        return Content(_keys("ConfigMap", volume.config_map, volume.config_map.default_mode, cupboard), group)
    if volume.secret is not None:
        return Content(_keys("Secret", volume.secret, volume.secret.default_mode, cupboard), group)
    if volume.projected is None:
        return None
    files: dict[str, File] = {}
    for source in volume.projected.sources:
        files |= _projected(source, volume.projected.default_mode, spec, cupboard)
    return Content(files, group)


def _projected(source: Source, mode: int, spec: PodSpec, cupboard: Cupboard) -> dict[str, File]:
    if source.config_map is not None:
        return _keys("ConfigMap", source.config_map, mode, cupboard)
    if source.secret is not None:
        return _keys("Secret", source.secret, mode, cupboard)
    if source.downward_api is not None:
        return {
            item.path: File(field_of(cupboard.pod, item.field_ref.field_path).encode(), item.mode or mode)
            for item in source.downward_api.items
        }
    asked = source.service_account_token
    if asked is None:
        return {}
    if asked not in cupboard.tokens:
        raise MissingError("a token is still to be asked for")
    return {asked.path: _token_file(cupboard.tokens[asked].encode(), mode, spec)}


def _token_file(token: bytes, mode: int, spec: PodSpec) -> File:
    # "Service account token volume projection": the file is 0600 and of the containers' user where all have the same one,
    # or of the fsGroup; otherwise everybody in the pod may read it.
    users = {
        security.run_as_user if security.run_as_user is not None else spec.security_context.run_as_user
        for security in (container.security_context for container in spec.containers)
    }
    if spec.security_context.fs_group is not None:
        return File(token, 0o600)
    user = users.pop() if len(users) == 1 else None
    return File(token, mode) if user is None else File(token, 0o600, user)


def _keys(kind: str, said: Keys, mode: int, cupboard: Cupboard) -> dict[str, File]:
    held = cupboard.lookup(kind, said.of)
    if held is None:
        if said.optional:
            return {}
        raise MissingError(f'{kind} "{said.of}" not found')
    values = values_of(kind, held)
    if said.items is None:
        return {key: File(value, mode) for key, value in values.items()}
    files = {}
    for item in said.items:
        if item.key in values:
            files[item.path] = File(values[item.key], item.mode or mode)
        elif not said.optional:
            raise MissingError(f'{kind} "{said.of}" has no key "{item.key}"')
    return files


def values_of(kind: str, held: Json) -> dict[str, bytes]:
    """The bytes of each key of a ConfigMap or Secret."""
    decoded = {
        key: base64.b64decode(text)
        for key, text in (held.get("binaryData" if kind == "ConfigMap" else "data") or {}).items()
    }
    if kind == "Secret":
        return decoded
    return {key: text.encode() for key, text in (held.get("data") or {}).items()} | decoded
