"""Tables: what `kubectl get` prints, which the server decides.

    columns     what a column is, and ages
    pods, workloads, cluster, access   the columns of each kind
    rendering   objects as a `Table` document

Knows the fields of kinds. Knows nothing of storage or HTTP.
"""

from policy_controller.testing.api_server.tables.rendering import Include, Table

__all__ = ["Include", "Table"]
