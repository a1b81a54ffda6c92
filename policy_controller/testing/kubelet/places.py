"""What the pods of one laboratory share: its nodes, the API, the images, and a directory for their files.

Knows which address a new pod gets. Knows nothing of containers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policy_controller.testing.kubelet.client import Client, Picture
from policy_controller.testing.kubelet.images import Image
from policy_controller.testing.laboratory import Address, Laboratory, Node

Json = dict[str, Any]

LAST_HOST = 254


@dataclass(frozen=True, slots=True)
class Places:
    """`images` by repository; `directory` holds volumes, logs and mount points; `api` is the host and port that pods are told."""

    laboratory: Laboratory
    client: Client
    picture: Picture
    images: Mapping[str, Image]
    directory: Path
    api: tuple[str, int]
    given: set[Address] = field(default_factory=set)
    """Addresses of pods that are there, or being made."""

    def disk_of(self, node: str) -> Path:
        """What a node has as its file system, where pods mount a part of it: nodes share a machine, not a disk."""
        return self.directory / "disks" / node

    def take_addresses(self, node: Node) -> tuple[Address, ...]:
        """The last ones of the node that nobody has: whoever else puts pods there begins with the first."""
        taken = {address for pod in self.laboratory.pods.values() for address in pod.addresses} | self.given
        for host in range(LAST_HOST, 1, -1):
            found = (node.pods_ipv4[host], node.pods_ipv6[host])
            if taken.isdisjoint(found):
                self.given.update(found)
                return found
        raise LookupError(f"node {node.name} has no free pod address left")
