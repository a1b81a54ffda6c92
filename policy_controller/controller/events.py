"""Tells the author of a policy that cannot be read: one Kubernetes Event, again only when what is wrong changes.

Knows how such an Event reads. Knows nothing of HTTP (api.py). A failure to write one never hurts: it is tried a few
times and then left, until the faults change.

The Event's name is made of the policy and its faults. So an operator that was restarted, or a second replica, writes
the same Event again, and the API server says that it is there already.
"""

import asyncio
import datetime
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from compilers.model.faults import Fault, ObjectRef
from policy_controller.clock import Clock, wait_for
from policy_controller.controller.api import ClusterApi
from policy_controller.controller.complaints import Complaint, complaints
from policy_controller.controller.kinds import KINDS, Kind
from policy_controller.controller.store import Store

log = logging.getLogger(__name__)

COMPONENT: Final = "policy-controller"
REASON: Final = "InvalidPolicy"
RETRY_SECONDS: Final = (1.0, 5.0, 30.0, 120.0)
"""Pauses between attempts to write one Event; then it is left."""
PAUSE_SECONDS: Final = 0.1
"""Between two Events: a thousand policies that break at once must not flood the API server."""


@dataclass(slots=True)
class _Told:
    signature: str
    attempts: int = 0
    due: float | None = 0.0
    """When to try (again); None: written, or left."""


class PolicyEvents:
    """Writes Events for the invalid policies of a store, and those that there is no room for."""

    def __init__(
        self, store: Store, api: ClusterApi, clock: Clock, without_room: Callable[[], Iterable[Fault]]
    ) -> None:
        self._store = store
        self._without_room = without_room
        self._api = api
        self._clock = clock
        self._wake = asyncio.Event()
        self._told: dict[ObjectRef, _Told] = {}
        self.written = 0
        self.failures = 0

    def wake(self) -> None:
        """The store changed, or what there is room for."""
        self._wake.set()

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            self._wake.clear()
            found = complaints(self._store, self._without_room())
            invalid = {complaint.policy.ref: complaint for complaint in found}
            self._update(invalid)
            for ref, told in list(self._told.items()):
                if told.due is not None and told.due <= self._clock.now():
                    await self._write(invalid[ref], told)
                    await self._clock.sleep(PAUSE_SECONDS)
            await wait_for(self._wake, self._clock, self._next_due())

    def _update(self, invalid: Mapping[ObjectRef, Complaint]) -> None:
        for ref in self._told.keys() - invalid.keys():
            del self._told[ref]
        for ref, complaint in invalid.items():
            signature = complaint.signature
            if ref not in self._told or self._told[ref].signature != signature:
                self._told[ref] = _Told(signature, due=self._clock.now())

    async def _write(self, complaint: Complaint, told: _Told) -> None:
        policy = complaint.policy
        event = event_of(complaint, datetime.datetime.now(datetime.UTC))
        try:
            await self._api.create_event(policy.namespace, event)
        except Exception as fault:  # noqa: BLE001 - whatever the API server answers, enforcement goes on
            self.failures += 1
            log.warning("could not write an Event for %s: %r", policy.ref, fault)
            pauses = RETRY_SECONDS[told.attempts : told.attempts + 1]
            told.attempts += 1
            told.due = self._clock.now() + pauses[0] if pauses else None
        else:
            self.written += 1
            told.due = None

    def _next_due(self) -> float | None:
        due = [told.due for told in self._told.values() if told.due is not None]
        return max(0.0, min(due) - self._clock.now()) if due else None


def event_of(complaint: Complaint, moment: datetime.datetime) -> dict[str, object]:
    """The core/v1 Event for a policy; `moment` is in UTC."""
    policy = complaint.policy
    row = KINDS[Kind.POLICY]
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        # 253 characters at most, of which 17 are the signature and its dot.
        "metadata": {
            "namespace": policy.namespace,
            "name": f"{policy.name[:230].rstrip('.-')}.{complaint.signature}",
        },
        "involvedObject": {
            "apiVersion": row.api_version,
            "kind": Kind.POLICY.value,
            "namespace": policy.namespace,
            "name": policy.name,
            "uid": policy.uid,
            "fieldPath": complaint.faults[0].where,
        },
        "type": "Warning",
        "reason": REASON,
        "message": complaint.message,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
