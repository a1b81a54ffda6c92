"""What a server does beyond keeping objects: its transport, who may do what, how its tokens look, whether pods run.

Knows the choices. How each is done is in `certificates`, `access` and `doors`.
"""

import enum
from dataclasses import dataclass
from typing import Final


class Transport(enum.Enum):
    """How the server is spoken to."""

    PLAIN = "http"
    TLS = "https"


class Permission(enum.Enum):
    """Who may do what."""

    OPEN = "whoever asks may do everything, with or without credentials"
    AUTHORIZED = "who asks is authenticated, every request is authorised by RBAC, and recorded"


class NodeClaims(enum.Enum):
    """Whether a token that is bound to a pod names the node the pod runs on."""

    IN_TOKENS = "in-tokens"
    """As clusters from 1.30 on make them."""
    NONE = "none"
    """As older clusters make them: no node, and no id of the token itself."""


class Kubelet(enum.Enum):
    """Whether pods run."""

    NONE = "no pod runs"
    PLAYED = "somebody runs pods, and says at /_pods how they are reached"


SHORTEST_SECONDS: Final = 600
"""The shortest life that a real server gives a token."""


@dataclass(frozen=True, slots=True)
class Features:
    """The choices for one server.

    `names` are the host names and addresses, beside its own and the usual ones, that its certificate is good for.
    `shortest_seconds` is the shortest life of a token that may be asked for.
    """

    transport: Transport = Transport.PLAIN
    names: tuple[str, ...] = ()
    permission: Permission = Permission.OPEN
    node_claims: NodeClaims = NodeClaims.IN_TOKENS
    shortest_seconds: int = SHORTEST_SECONDS
    kubelet: Kubelet = Kubelet.NONE


PLAIN: Final = Features()
