"""The order for a container: image, words, variables and rights put together from a pod's spec and what is around it.

Knows where each part comes from. Starts nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_controller.testing.kubelet.containers import Order
from policy_controller.testing.kubelet.contents import MissingError, values_of
from policy_controller.testing.kubelet.environment import (
    MASTER,
    container_variables,
    expanded,
    field_of,
    service_variables,
)
from policy_controller.testing.kubelet.furnishing import Furnishing
from policy_controller.testing.kubelet.images import repository
from policy_controller.testing.kubelet.places import Places
from policy_controller.testing.kubelet.spec import Container, KeyRef, PodSpec, rights_of

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """A pod that has its network and its volumes: `tree` with the status it has now, `network` a namespace's name."""

    tree: Json
    spec: PodSpec
    network: str
    hostname: str
    furnishing: Furnishing


def order(places: Places, pod: Settled, container: Container, log: Path) -> Order:
    """Raises SpecError, and MissingError for what may come yet."""
    image = places.images[repository(container.image)]
    namespace = pod.tree["metadata"]["namespace"]

    def key(kind: str, wanted: KeyRef) -> str | None:
        held = places.picture.get(kind, namespace, wanted.name)
        values = {} if held is None else values_of(kind, held)
        if wanted.key in values:
            return values[wanted.key].decode()
        if wanted.optional:
            return None
        raise MissingError(f'{kind} "{wanted.name}" has no key "{wanted.key}"')

    services = _service_variables(places, namespace, pod.spec)
    variables = container_variables(container.env, services, lambda path: field_of(pod.tree, path), key)
    words = [*(container.command or image.entrypoint), *container.args]
    return Order(
        image=image,
        network=pod.network,
        hostname=pod.hostname,
        argv=tuple(expanded(word, variables) for word in words),
        # A runtime gives a user without an entry in /etc/passwd this home.
        environment={"HOME": "/", "HOSTNAME": pod.hostname, **image.environment, **variables},
        directory=container.working_dir or image.directory,
        rights=rights_of(pod.spec.security_context, container.security_context, image.user),
        binds=pod.furnishing.binds(container),
        scratch=pod.furnishing.directory.parent / "roots" / container.name,
        log=log,
    )


def _service_variables(places: Places, namespace: str, spec: PodSpec) -> Mapping[str, str]:
    host, port = places.api
    of, name = MASTER
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    master = {"metadata": {"namespace": of, "name": name}, "spec": {"clusterIP": host, "ports": ports}}
    linked = (one for one in places.picture.all("Service") if one["metadata"]["namespace"] == namespace)
    return service_variables([master, *(linked if spec.enable_service_links else ())])
