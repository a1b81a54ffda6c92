"""What the server knows of each kind beyond its row in `resources`: defaults, first state and validity.

Knows fields and their meaning. Knows nothing of storage, versions, HTTP or the other objects there are.
"""

from collections.abc import Mapping
from typing import Final

from policy_controller.testing.api_server.kinds.access import ACCESS
from policy_controller.testing.api_server.kinds.core import (
    CONFIG_MAP,
    EVENT,
    NAMESPACE,
    PRIORITY_CLASS,
    SECRET,
)
from policy_controller.testing.api_server.kinds.network_policy import NETWORK_POLICY
from policy_controller.testing.api_server.kinds.pod import POD
from policy_controller.testing.api_server.kinds.rules import PLAIN, Rules
from policy_controller.testing.api_server.kinds.service import SERVICE
from policy_controller.testing.api_server.kinds.workloads import WORKLOADS

RULES: Final[Mapping[str, Rules]] = {
    **ACCESS,
    **WORKLOADS,
    "configmaps": CONFIG_MAP,
    "events": EVENT,
    "namespaces": NAMESPACE,
    "networkpolicies.networking.k8s.io": NETWORK_POLICY,
    "pods": POD,
    "priorityclasses.scheduling.k8s.io": PRIORITY_CLASS,
    "secrets": SECRET,
    "services": SERVICE,
}


def rules_of(shelf: str) -> Rules:
    """The rules of the kind whose objects lie on a shelf; kinds without a row have none."""
    return RULES.get(shelf, PLAIN)
