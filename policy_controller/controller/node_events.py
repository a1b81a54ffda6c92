"""Tells whoever looks after a node that somebody else changes its tables: a Kubernetes Event on the Node.

Knows how such an Event reads, and how many are written however much a node tells. Knows nothing of HTTP (api.py). What cannot
be written is dropped: the node says it in its own log and counts it as well.
"""

import asyncio
import datetime
import logging
import secrets
from collections.abc import Mapping
from typing import Final

from compilers.nftables.base import TABLE
from policy_controller.clock import Clock, wait_for
from policy_controller.controller.api import ClusterApi
from policy_controller.wire.messages import Tampered

log = logging.getLogger(__name__)

COMPONENT: Final = "policy-controller"
REASON: Final = "PolicyTablesChanged"
NAMESPACE: Final = "default"
"""Where Events on objects without a namespace are; the API server refuses them elsewhere."""
NODE_SECONDS: Final = 30.0
"""Between two Events on one node; what it tells meanwhile becomes one for each process."""
PAUSE_SECONDS: Final = 0.1
"""Between two Events: a thousand nodes that are changed at once must not flood the API server."""
MOST_PROCESSES: Final = 4
"""Of one node, that wait to be written; the rest is dropped."""


class NodeEvents:
    """Writes Events for what nodes tell."""

    def __init__(self, api: ClusterApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._wake = asyncio.Event()
        self._waiting: dict[str, dict[str, Tampered]] = {}
        self._due: dict[str, float] = {}
        self.heard = 0
        self.dropped = 0
        self.written = 0
        self.failures = 0

    def tampered(self, node: str, report: Tampered) -> None:
        """A node tells that somebody changed its tables."""
        self.heard += 1
        waiting = self._waiting.setdefault(node, {})
        if report.process not in waiting and len(waiting) >= MOST_PROCESSES:
            self.dropped += 1
            return
        waiting[report.process] = report.after(waiting.get(report.process))
        self._wake.set()

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.now()
            self._due = {node: due for node, due in self._due.items() if due > now}
            for node in [one for one in self._waiting if one not in self._due]:
                self._due[node] = self._clock.now() + NODE_SECONDS
                for report in self._waiting.pop(node).values():
                    await self._write(node, report)
                    await self._clock.sleep(PAUSE_SECONDS)
            dues = [self._due.get(node, now) for node in self._waiting]
            await wait_for(self._wake, self._clock, max(0.0, min(dues) - self._clock.now()) if dues else None)

    async def _write(self, node: str, report: Tampered) -> None:
        event = event_of(node, report, datetime.datetime.now(datetime.UTC))
        try:
            await self._api.create_event(NAMESPACE, event)
        except Exception as fault:  # noqa: BLE001 - whatever the API server answers, enforcement goes on
            self.failures += 1
            log.warning("could not write an Event for node %s: %r", node, fault)
        else:
            self.written += 1


def event_of(node: str, report: Tampered, moment: datetime.datetime) -> Mapping[str, object]:
    """The core/v1 Event on a node; `moment` is in UTC."""
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    seen = datetime.datetime.fromtimestamp(report.at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    who = f"{report.process} (pid {report.number})" if report.number else "a process that is not known"
    often = "once" if report.times == 1 else f"{report.times} times"
    tables = " and ".join(f"{family.value} {TABLE}" for family in report.tables)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        # 253 characters at most. What was told is over: no second attempt has to find the first.
        "metadata": {"namespace": NAMESPACE, "name": f"{node[:230].rstrip('.-')}.{secrets.token_hex(8)}"},
        # As the kubelet does it: the name stands for the uid.
        "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node},
        "type": "Warning",
        "reason": REASON,
        "message": (
            f"{who} changed the nftables table {tables}, {often}, last at {seen} by the node's clock. "
            "It was put right. Between the change and that, packets may have passed that no policy admits."
        ),
        "source": {"component": COMPONENT, "host": node},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": report.times,
    }
