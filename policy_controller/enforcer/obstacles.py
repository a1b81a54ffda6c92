"""What can stand between an enforcer and its operator.

Knows names. Knows nothing of how each is found (reach.py) or counted (metrics.py).
"""

import enum


class Obstacle(enum.Enum):
    """Why there is no stream, or none any more; also the label of its counter."""

    CERTIFICATE = "certificate"
    """The operator's certificate is not of an authority that is trusted, or not valid now."""
    SERVER_NAME = "server_name"
    """The certificate is of somebody else."""
    NOT_TLS = "not_tls"
    """Whoever listens there does not speak TLS."""
    HANDSHAKE = "handshake"
    """TLS was begun and came to nothing for another reason."""
    NOT_REACHED = "not_reached"
    """Nobody listens there, or nothing leads there."""
    UNAUTHENTICATED = "unauthenticated"
    """The operator does not accept the token."""
    PERMISSION_DENIED = "permission_denied"
    """The operator accepts the token, and not for this."""
    UNAVAILABLE = "unavailable"
    """The operator cannot serve now, and says so."""
    ENDED = "ended"
    """The operator ended the call for another reason, or for none."""
    LOST = "lost"
    """The connection broke."""
