"""Why a caller is not served: each reason with the status that its stream ends with.

Knows words and statuses. Knows nothing of how a reason is found out. The words are labels of a metric, so they are few
and hold no names.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import grpc

from policy_controller.wire.refused import plain


class Reason(enum.Enum):
    """What is wrong with a caller."""

    NO_TOKEN = "no-token"  # noqa: S105 - a word for its absence
    """Nothing in the call says who it is; a client certificate says nothing here."""
    MALFORMED_TOKEN = "malformed-token"  # noqa: S105 - as above
    """What is there cannot be a bearer token."""
    INVALID_TOKEN = "invalid-token"  # noqa: S105 - as above
    """The API server does not know it, or the pod that it was made for is gone."""
    EXPIRED_TOKEN = "expired-token"  # noqa: S105 - as above
    OTHER_AUDIENCE = "other-audience"
    """It is good, but for somebody else; who has been shown it could otherwise use it here."""
    OTHER_ACCOUNT = "other-account"
    """Its service account is not that of enforcers."""
    NO_NODE = "no-node"
    """It is bound to no node and to no pod."""
    OTHER_NODE = "other-node"
    """It is bound to another node than the one asked for."""
    UNKNOWN_POD = "unknown-pod"
    """Which node the pod is on that it is bound to is not known, or not yet."""
    UNCHECKED = "unchecked"
    """The API server cannot be asked now."""
    TOO_MANY = "too-many"
    """The same address, or the same node, has too many tokens checked, at a time or for nothing."""


CODES: Final[Mapping[Reason, grpc.StatusCode]] = MappingProxyType(
    {
        Reason.NO_TOKEN: grpc.StatusCode.UNAUTHENTICATED,
        Reason.MALFORMED_TOKEN: grpc.StatusCode.UNAUTHENTICATED,
        Reason.INVALID_TOKEN: grpc.StatusCode.UNAUTHENTICATED,
        Reason.EXPIRED_TOKEN: grpc.StatusCode.UNAUTHENTICATED,
        Reason.OTHER_AUDIENCE: grpc.StatusCode.UNAUTHENTICATED,
        Reason.OTHER_ACCOUNT: grpc.StatusCode.PERMISSION_DENIED,
        Reason.NO_NODE: grpc.StatusCode.PERMISSION_DENIED,
        Reason.OTHER_NODE: grpc.StatusCode.PERMISSION_DENIED,
        Reason.UNKNOWN_POD: grpc.StatusCode.UNAVAILABLE,
        Reason.UNCHECKED: grpc.StatusCode.UNAVAILABLE,
        Reason.TOO_MANY: grpc.StatusCode.UNAVAILABLE,
    }
)
PASSING: Final = frozenset(reason for reason, code in CODES.items() if code is grpc.StatusCode.UNAVAILABLE)
"""Reasons that say nothing of the caller: who is served already goes on being served."""


class Unwelcome(Exception):  # noqa: N818 - named for what it says
    """The caller is not served. The words hold nothing of its token, and are safe to print.

    `detail` is for the log alone: the caller may be anybody, and an API server's errors may name what is behind it.
    """

    def __init__(self, reason: Reason, words: str, detail: str = "") -> None:
        self.reason = reason
        self.words = plain(words)
        self.detail = plain(detail)
        super().__init__(f"{reason.value}: {self.words}")

    @property
    def code(self) -> grpc.StatusCode:
        """The status that the stream ends with."""
        return CODES[self.reason]
