"""What every object says of itself: apiVersion, kind, namespace, name, uid.

Knows which names the API server accepts. Knows nothing of what the object is for.
"""

import uuid
from dataclasses import dataclass
from typing import Final

from compilers.model.faults import ObjectRef
from compilers.model.names import DNS_LABEL, DNS_SUBDOMAIN, UID, NameForm
from compilers.model.selector import quoted
from compilers.parse.field import Field, Findings, Origin, shown
from compilers.parse.places import Positions

_UNREADABLE: Final = "?"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object: its apiVersion, and whether its objects live in namespaces."""

    name: str
    api_version: str
    namespaced: bool


NETWORK_POLICY: Final = Kind("NetworkPolicy", "networking.k8s.io/v1", namespaced=True)
POD: Final = Kind("Pod", "v1", namespaced=True)
NAMESPACE: Final = Kind("Namespace", "v1", namespaced=False)
NODE: Final = Kind("Node", "v1", namespaced=False)
CONFIG_MAP: Final = Kind("ConfigMap", "v1", namespaced=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """An object with readable names; `top` is its whole tree."""

    top: Field
    namespace: str
    name: str
    uid: str


def identify(
    tree: object, kind: Kind, origin: Origin, positions: Positions
) -> tuple[Findings, Identity | None]:
    """Who the object is, and where its faults are collected; None when it has no legal name or is of another kind."""
    findings = Findings(_claimed(tree, kind), origin, positions)
    top = Field(tree, (), findings)
    if not isinstance(tree, dict):
        top.fault(f"must be a {kind.name} object, found {shown(tree)}")
        return findings, None
    is_kind = _check_kind(top.at("kind"), kind)
    _check_api_version(top.at("apiVersion"), kind)
    metadata = top.at("metadata")
    metadata.fields()
    name = read_name(metadata.at("name"), DNS_LABEL if kind is NAMESPACE else DNS_SUBDOMAIN)
    namespace = read_name(metadata.at("namespace"), DNS_LABEL) if kind.namespaced else ""
    uid = _read_uid(metadata.at("uid"))
    if not is_kind or name is None or namespace is None:
        return findings, None
    return findings, Identity(top, namespace, name, uid or made_uid(kind, namespace, name))


def made_uid(kind: Kind, namespace: str, name: str) -> str:
    """A uid for an object that has none, as in files: the same for the same kind and name."""
    # Half a surrogate pair has no bytes in UTF-8; its escape does.
    named = f"{kind.name}/{namespace}/{name}".encode("utf-8", "backslashreplace").decode()
    return str(uuid.uuid5(uuid.NAMESPACE_OID, named))


def _claimed(tree: object, kind: Kind) -> ObjectRef:
    """The names the object gives itself, made fit for a message when they are not legal."""
    metadata = tree.get("metadata") if isinstance(tree, dict) else None
    given = metadata if isinstance(metadata, dict) else {}
    namespace = _fit(given.get("namespace")) if kind.namespaced else ""
    return ObjectRef(kind.name, namespace, _fit(given.get("name")))


def _fit(name: object) -> str:
    if not isinstance(name, str):
        return _UNREADABLE
    return name if DNS_SUBDOMAIN.fits(name) else quoted(name)


def _check_kind(field: Field, kind: Kind) -> bool:
    if field.absent and field.findings.origin is Origin.API:
        # Items of a list carry no kind of their own: the list does.
        return True
    if field.value != kind.name:
        field.fault(f"must be {kind.name}, found {shown(field.value)}")
    return field.value == kind.name


def _check_api_version(field: Field, kind: Kind) -> None:
    if field.absent and field.findings.origin is Origin.API:
        return
    if field.value != kind.api_version:
        field.fault(f"must be {kind.api_version}, found {shown(field.value)}")


def read_name(field: Field, form: NameForm) -> str | None:
    """A name of that form; None and a fault when it is another or not there."""
    if field.absent:
        field.fault("is required")
    text = field.text()
    if text is None:
        return None
    if not form.fits(text):
        dots = ", '.'" if form is DNS_SUBDOMAIN else ""
        field.fault(
            f"{quoted(text)} is not a name: at most {form.longest} lower-case letters, digits, '-'{dots}, "
            "a letter or digit at both ends"
        )
        return None
    return text


def _read_uid(field: Field) -> str | None:
    text = field.text()
    if text is None or text == "":
        return None
    if not UID.fits(text):
        field.fault(f"{quoted(text)} is not a uid")
        return None
    return text
