"""Settings of the whole cluster: whether policies are enforced, and what a change means for open connections.

Knows their names, words and defaults. Knows nothing of where they are written down.
"""

import enum
from dataclasses import dataclass
from typing import Final

CONFIG_MAP: Final = "policy-controller"
"""The ConfigMap that holds them, in the operator's namespace."""


class Enforcement(enum.Enum):
    """Whether policies have any effect (key `enforcement`)."""

    ENFORCED = "enforced"
    OFF = "off"
    """No pod of the cluster is isolated, whatever policies say."""


class ExistingConnections(enum.Enum):
    """What becomes of open connections that a change denies (key `existingConnections`)."""

    KEEP = "keep"
    CUT = "cut"


EXISTING_CONNECTIONS: Final = "policy-controller.io/existing-connections"
"""The annotation of a Namespace that chooses for its pods, whatever is chosen for the cluster."""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """What holds for the whole cluster."""

    enforcement: Enforcement = Enforcement.ENFORCED
    existing_connections: ExistingConnections = ExistingConnections.KEEP


DEFAULTS: Final = ClusterSettings()
"""Where nobody has chosen anything."""
