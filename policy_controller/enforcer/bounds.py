"""The enforcer's bounds by the names that its metric has for them.

Knows names. Knows nothing of who keeps a bound.
"""

import enum


class Bound(enum.Enum):
    """What somebody had too much of."""

    ENDED_ADDRESSES = "ended-addresses"
    """Addresses whose connections must end while the kernel does not let them."""
    DEPARTED_ADDRESSES = "departed-addresses"
    """Addresses of departed pods that are still on the node."""
    NODE_ADDRESSES = "node-addresses"
    """Addresses in the namespaces of the node's pods."""
    REPORTS = "reports"
    """Processes that change tables, told apart while the operator cannot be told."""
    HTTP_CONNECTIONS = "http-connections"
    HTTP_ANSWERS = "http-answers"
    """Questions that were answered with what another had just been told."""
    LOG_LINES = "log-lines"
