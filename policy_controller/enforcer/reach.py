"""How far the enforcer gets on its way to the operator: what is waited for, why an attempt failed, in plain words.

Knows what gRPC says of a channel that fails and of a call that is refused. Opens none itself (stream.py).
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio

from policy_controller.enforcer.credentials import Way
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.obstacles import Obstacle
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setback:
    """Why an attempt failed, or a stream is over: one sentence that is safe to print, without its full stop."""

    obstacle: Obstacle
    sentence: str


TELLING: Final[tuple[tuple[re.Pattern[str], Obstacle, str], ...]] = (
    (
        re.compile(r"CERTIFICATE_VERIFY_FAILED(?:: (?P<why>[^:]+))?"),
        Obstacle.CERTIFICATE,
        "the operator's certificate is not one that the CA file vouches for",
    ),
    (
        re.compile(r"Hostname Verification Check failed"),
        Obstacle.SERVER_NAME,
        "the operator's certificate is for another name",
    ),
    (
        re.compile(r"WRONG_VERSION_NUMBER|HTTP_REQUEST"),
        Obstacle.NOT_TLS,
        "what listens there does not speak TLS",
    ),
    (
        re.compile(r"OPENSSL_internal:(?P<why>[A-Z0-9_]+)|[Hh]andshake"),
        Obstacle.HANDSHAKE,
        "the TLS handshake with the operator failed",
    ),
    (
        re.compile(r"(?:to remote host|address lookup failed for \S+): (?P<why>[^\]]+)"),
        Obstacle.NOT_REACHED,
        "the operator is not reached",
    ),
    (re.compile(r"failed to connect|resolving"), Obstacle.NOT_REACHED, "the operator is not reached"),
)
"""What gRPC's details of a connection that did not come about hold; the first that is found decides."""

REFUSALS: Final[Mapping[grpc.StatusCode, tuple[Obstacle, str]]] = {
    grpc.StatusCode.OK: (Obstacle.ENDED, "the operator has ended the stream"),
    grpc.StatusCode.UNAUTHENTICATED: (Obstacle.UNAUTHENTICATED, "the operator does not accept the token"),
    grpc.StatusCode.PERMISSION_DENIED: (Obstacle.PERMISSION_DENIED, "the operator refuses this node"),
    grpc.StatusCode.UNAVAILABLE: (Obstacle.UNAVAILABLE, "the operator cannot serve this node now"),
}


def setback(code: grpc.StatusCode, details: str, channel: grpc.ChannelConnectivity) -> Setback:
    """Why a call has ended with a status; `channel` is the state of its channel then.

    UNAVAILABLE is said by an operator, and by gRPC of everything that keeps it from one. While the channel is ready it
    is the operator's word.
    """
    if channel is grpc.ChannelConnectivity.READY or code is not grpc.StatusCode.UNAVAILABLE:
        obstacle, sentence = REFUSALS.get(
            code, (Obstacle.ENDED, f"the operator has ended the stream ({code.name})")
        )
        return Setback(obstacle, _because(sentence, details))
    for pattern, obstacle, sentence in TELLING:
        found = pattern.search(details)
        if found is not None:
            return Setback(obstacle, _because(sentence, found.groupdict().get("why")))
    return Setback(Obstacle.LOST, _because("the connection to the operator broke", details))


class Reach:
    """How it stands with the way to the operator; the log and the metrics hear of every change."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        """What is waited for, or why the last attempt failed; None once the operator has said something."""
        return self._trouble

    def wait_for(self, what: str | None) -> None:
        """No attempt is made before this is there; None: now it is."""
        if what is None:
            log.info("what was waited for is there: the CA and a token")
        else:
            log.warning("waiting for %s", what)
            self._trouble = f"waiting for {what}"

    def fail(self, way: Way, failed: Setback) -> None:
        """An attempt has failed or a stream is over."""
        log.warning("no stream to %s: %s", way, failed.sentence)
        self._metrics.stream_failed(failed.obstacle)
        self._trouble = failed.sentence

    def succeed(self) -> None:
        """The operator has said something, so it has accepted this node."""
        self._trouble = None


def _because(sentence: str, why: str | None) -> str:
    return f"{sentence}: {plain(why)}" if why else sentence
