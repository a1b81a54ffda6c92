"""The environment of a container: variables of Services, of the manifest, and $(NAME) in words.

Pure. Sources: "Define Environment Variables for a Container", "Service: environment variables", and the API's EnvVar.value.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from policy_controller.testing.kubelet.spec import KeyRef, SpecError, Variable

Json = dict[str, Any]

REFERENCE: Final = re.compile(r"\$(?:\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")
HEADLESS: Final = "None"
MASTER: Final = ("default", "kubernetes")
"""The one Service whose variables every pod has."""
ANNOTATED: Final = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def expanded(text: str, known: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the value of NAME; an unknown one stays, and `$$` is a `$`."""

    def put(found: re.Match[str]) -> str:
        name = found.group(1)
        return "$" if name is None else known.get(name, found.group())

    return REFERENCE.sub(put, text)


def service_variables(services: Iterable[Json]) -> dict[str, str]:
    """The variables of these Services: NAME_SERVICE_HOST, NAME_SERVICE_PORT, one for each named port, and Docker's links."""
    found: dict[str, str] = {}
    for service in sorted(services, key=lambda one: str(one["metadata"]["name"])):
        spec = service["spec"]
        address, ports = spec.get("clusterIP", ""), spec.get("ports") or []
        if not address or address == HEADLESS or not ports:
            continue
        name = service["metadata"]["name"].upper().replace("-", "_")
        found[f"{name}_SERVICE_HOST"] = address
        found[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        shown = f"[{address}]" if ":" in address else address
        for index, port in enumerate(ports):
            number, word = str(port["port"]), port.get("protocol", "TCP").lower()
            if port.get("name"):
                found[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = number
            link = f"{name}_PORT_{number}_{word.upper()}"
            whole = f"{word}://{shown}:{number}"
            if index == 0:
                found[f"{name}_PORT"] = whole
            found |= {link: whole, f"{link}_PROTO": word, f"{link}_PORT": number, f"{link}_ADDR": address}
    return found


def field_of(pod: Json, path: str) -> str:
    """The value of a fieldRef. Raises SpecError for a path that no kubelet knows."""
    metadata, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    marked = ANNOTATED.fullmatch(path)
    if marked is not None:
        return str((metadata.get(marked.group(1)) or {}).get(marked.group(2), ""))
    values: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: metadata["name"],
        "metadata.namespace": lambda: metadata["namespace"],
        "metadata.uid": lambda: metadata["uid"],
        "spec.nodeName": lambda: spec.get("nodeName", ""),
        "spec.serviceAccountName": lambda: spec.get("serviceAccountName", "default"),
        "status.hostIP": lambda: status.get("hostIP", ""),
        "status.podIP": lambda: status.get("podIP", ""),
        "status.podIPs": lambda: ",".join(one["ip"] for one in status.get("podIPs", [])),
    }
    if path not in values:
        raise SpecError(f"fieldRef: {path} is not known")
    return values[path]()


def container_variables(
    said: Iterable[Variable],
    services: Mapping[str, str],
    field: Callable[[str], str],
    key: Callable[[str, KeyRef], str | None],
) -> dict[str, str]:
    """Those of Services and then the container's own, in their order; each may refer to those before it.

    `field` gives the value of a fieldRef, `key` that of a key of a ConfigMap or Secret, None where an optional one is missing.
    """
    known = dict(services)
    for variable in said:
        source = variable.value_from
        if source is None:
            known[variable.name] = expanded(variable.value, known)
        elif source.field_ref is not None:
            known[variable.name] = field(source.field_ref.field_path)
        else:
            kind = "ConfigMap" if source.config_map_key_ref is not None else "Secret"
            wanted = source.config_map_key_ref or source.secret_key_ref
            if wanted is None:
                raise SpecError(f"env {variable.name}: valueFrom names no source")
            value = key(kind, wanted)
            if value is not None:
                known[variable.name] = value
    return known
