"""How much one message may hold. Beyond it a message is refused by name of the limit, whoever sent it.

Knows numbers. Knows nothing of what they count.
"""

from collections.abc import Sized
from dataclasses import dataclass
from typing import Final

from compilers.model.faults import InvalidField


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of one message; each is far above what a node of 500 pods in a cluster of 100,000 needs."""

    message_bytes: int = 64 << 20
    sets: int = 4096
    """Peer sets, port sets and block sets, each for itself."""
    set_elements: int = 262_144
    """Elements of one set and one family."""
    classes: int = 4096
    class_policies: int = 1024
    class_rules: int = 16_384
    pods: int = 4096
    pod_addresses: int = 16
    legend_addresses: int = 524_288
    """Addresses that the legend names, of one family."""
    capabilities: int = 64


LIMITS: Final = Limits()


def check_count(items: Sized, most: int) -> None:
    """Raise InvalidField when there are more than `most`."""
    if len(items) > most:
        raise InvalidField(f"has {len(items)} entries, at most {most} are accepted")
