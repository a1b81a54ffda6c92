"""What a pod's document says of its name and its ports.

Knows the fields of a Pod that was made for an installation. Knows no API server and no packets.
"""

from typing import Any

from compilers.model.words import Protocol

Json = dict[str, Any]
PodKey = tuple[str, str]
"""Namespace and name."""

Service = tuple[Protocol, int]
"""What a pod listens on."""


def key_of(tree: Json) -> PodKey:
    """Namespace and name of a pod's document."""
    return tree["metadata"]["namespace"], tree["metadata"]["name"]


def declared_ports(tree: Json) -> frozenset[Service]:
    """The ports that the containers of a pod to create declare."""
    ports = [port for container in tree["spec"]["containers"] for port in container["ports"]]
    return frozenset((Protocol(port["protocol"]), port["containerPort"]) for port in ports)
