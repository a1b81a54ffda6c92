"""The development API server: enough of Kubernetes for unchanged clients, in memory, in one process.

    resources, kinds, schemas    what is served: tables of rows, of each kind's rules, and of its fields
    store, subscriptions         versions, history, who is told
    writes, deletes, lists, watches, manners    the verbs
    patches, ownership           what a patch makes of a document, and who owns which field
    features, certificates       what a server is told to do beyond keeping objects; TLS
    access                       who asks, who may do what, what was asked
    doors                        ports and logs of pods that somebody runs for it
    tables, views, forms         objects as they are shown
    discovery, openapi           what the server says of itself
    requests, asking, verbs, parts, following, http    the API's spelling
    faults                       what goes wrong on demand
    server                       the running thing

Knows how an API server behaves towards its clients. Knows nothing of what policies mean.
"""

from policy_controller.testing.api_server.errors import ApiError
from policy_controller.testing.api_server.server import ApiServer

__all__ = ["ApiError", "ApiServer"]
