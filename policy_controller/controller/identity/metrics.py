"""Metrics of who calls and of the operator's own certificate, read when they are scraped.

Knows names and labels. Labels are words of this package, never of callers.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from policy_controller.controller.identity.handshakes import Failure, Handshakes
from policy_controller.controller.identity.refusals import Reason
from policy_controller.controller.identity.reviewer import Outcome, Reviewer
from policy_controller.controller.identity.source import CertificateSource

PREFIX: Final = "policy_controller"


class Door(Protocol):
    """Where callers come in."""

    handshakes: int
    opened: int
    refused: Counter[Reason]


class IdentityCollector(Collector):
    """Counters that the door and the parts of this package keep anyway."""

    def __init__(
        self,
        door: Door,
        reviewer: Reviewer,
        source: CertificateSource,
        handshakes: Handshakes,
        own: Callable[[], int],
    ) -> None:
        """`own`: how many handshakes the operator itself has begun with its door."""
        self._door = door
        self._reviewer = reviewer
        self._source = source
        self._handshakes = handshakes
        self._own = own

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        refused = CounterMetricFamily(
            f"{PREFIX}_refused_streams",
            "Streams whose caller was not, or no longer, to be served.",
            labels=["reason"],
        )
        for reason in Reason:
            refused.add_metric([reason.value], self._door.refused[reason])
        handshakes = CounterMetricFamily(
            f"{PREFIX}_failed_handshakes", "TLS handshakes that failed.", labels=["reason"]
        )
        for failure in Failure:
            handshakes.add_metric([failure.value], self._handshakes.failures[failure])
        reviews = CounterMetricFamily(
            f"{PREFIX}_token_reviews", "Tokens that the API server was asked about.", labels=["outcome"]
        )
        for outcome in Outcome:
            reviews.add_metric([outcome.value], self._reviewer.outcomes[outcome])
        yield from (refused, handshakes, reviews)
        yield CounterMetricFamily(
            f"{PREFIX}_handshakes",
            "TLS handshakes that have begun; where no streams follow, clients do not trust the operator.",
            value=self._door.handshakes - self._own(),
        )
        yield CounterMetricFamily(
            f"{PREFIX}_opened_streams", "Streams that anybody has opened.", value=self._door.opened
        )
        ends = self._source.ends
        yield GaugeMetricFamily(
            f"{PREFIX}_certificate_expires_timestamp_seconds",
            "When the operator's own certificate expires, since 1970; 0 while there is none.",
            value=0.0 if ends is None else ends.timestamp(),
        )
