"""The development API server: enough of Kubernetes for unchanged clients, in memory, in one process.

    resources, kinds    what is served: tables of rows and of each kind's rules
    store, subscriptions    versions, history, who is told
    writes, deletes, patches, lists, watches    the verbs
    requests, discovery, http    the API's spelling
    server    the running thing

Knows how an API server behaves towards its clients. Knows nothing of what policies mean.
"""

from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.server import ApiServer

__all__ = ["ApiError", "ApiServer"]
