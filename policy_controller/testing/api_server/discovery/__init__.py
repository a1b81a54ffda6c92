"""Discovery: what the server says it serves, derived from the table of resources.

    lists        a document for each group and version
    aggregated   all of them in two

Knows nothing of objects.
"""

from policy_controller.testing.api_server.discovery.aggregated import (
    CONTENT_TYPE,
    aggregated_core,
    aggregated_groups,
)
from policy_controller.testing.api_server.discovery.lists import (
    VERSION,
    core_versions,
    group,
    groups,
    resources,
)

__all__ = [
    "CONTENT_TYPE",
    "VERSION",
    "aggregated_core",
    "aggregated_groups",
    "core_versions",
    "group",
    "groups",
    "resources",
]
