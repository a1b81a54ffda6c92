"""The operator's bounds by the names that its metric has for them, and the defaults of those that settings may change.

Knows names and numbers. Knows nothing of who keeps a bound.
"""

import enum
from typing import Final

PREFIX: Final = "policy_controller"
"""Of all metrics."""


class Bound(enum.Enum):
    """What somebody had too much of."""

    CONNECTIONS = "connections"
    """Connections to the port of nodes that carry nobody who is known."""
    STREAMS = "streams"
    """Streams that one node opens."""
    HEADERS = "headers"
    """What a call says of itself, in bytes."""
    TOKENS = "tokens"
    """Tokens that are, or wait to be, checked at a time."""
    TOKENS_OF_ADDRESS = "tokens-of-address"
    """Tokens of nobody who is known yet, who may share an address with many."""
    TOKENS_OF_NODE = "tokens-of-node"
    """Tokens of whoever has proved once to be a node's enforcer."""
    REMEMBERED_TOKENS = "remembered-tokens"
    REMEMBERED_REFUSALS = "remembered-refusals"
    """What is remembered of addresses that have bad tokens checked, and of nodes that offer many."""
    ENDED_ADDRESSES = "ended-addresses"
    """Addresses that changed hands while a node takes no rule set."""
    NODE_EVENTS = "node-events"
    HTTP_CONNECTIONS = "http-connections"
    HTTP_ANSWERS = "http-answers"
    """Questions that were answered with what another had just been told."""
    LOG_LINES = "log-lines"


MOST_CONNECTIONS: Final = 1_000
"""Connections that carry nobody who is known, unless a setting says otherwise."""
MOST_REVIEWS: Final = 64
"""Tokens that the API server is asked about at a time, unless a setting says otherwise."""
