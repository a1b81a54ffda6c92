"""Tells the author of a policy that cannot be read: one Kubernetes Event, again only when what is wrong changes.

Knows how such an Event reads. Knows nothing of HTTP (api.py). A failure to write one never hurts: it is tried a few
times and then left, until the faults change.

The Event's name is made of the policy and its faults. So an operator that was restarted, or a second replica, writes
the same Event again, and the API server says that it is there already.
"""

import asyncio
import datetime
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from compilers.model.faults import Fault
from compilers.model.policy import NetworkPolicy
from policy_controller.clock import Clock, wait_for
from policy_controller.controller.api import ClusterApi
from policy_controller.controller.kinds import KINDS, Kind
from policy_controller.controller.store import Store

log = logging.getLogger(__name__)

COMPONENT: Final = "policy-controller"
REASON: Final = "InvalidPolicy"
LONGEST_MESSAGE: Final = 1024
"""Characters; core/v1 Event: messages are for people, and the API server refuses much longer ones."""
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
    """Writes Events for the invalid policies of a store."""

    def __init__(self, store: Store, api: ClusterApi, clock: Clock) -> None:
        self._store = store
        self._api = api
        self._clock = clock
        self._wake = asyncio.Event()
        self._told: dict[str, _Told] = {}
        self.written = 0
        self.failures = 0

    def wake(self) -> None:
        """The store changed."""
        self._wake.set()

    async def run(self) -> None:
        """Write Events until cancelled."""
        while True:
            self._wake.clear()
            invalid = {policy.uid: policy for policy in invalid_policies(self._store)}
            self._update(invalid)
            for uid, told in list(self._told.items()):
                if told.due is not None and told.due <= self._clock.now():
                    await self._write(invalid[uid], told)
                    await self._clock.sleep(PAUSE_SECONDS)
            await wait_for(self._wake, self._clock, self._next_due())

    def _update(self, invalid: Mapping[str, NetworkPolicy]) -> None:
        for uid in self._told.keys() - invalid.keys():
            del self._told[uid]
        for uid, policy in invalid.items():
            signature = signature_of(policy)
            if uid not in self._told or self._told[uid].signature != signature:
                self._told[uid] = _Told(signature, due=self._clock.now())

    async def _write(self, policy: NetworkPolicy, told: _Told) -> None:
        event = event_of(policy, datetime.datetime.now(datetime.UTC))
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


def invalid_policies(store: Store) -> tuple[NetworkPolicy, ...]:
    """Policies with faults, sorted."""
    values = (seen.value for _, seen in sorted(store.faulty.items()) if seen.faults)
    return tuple(value for value in values if isinstance(value, NetworkPolicy))


def signature_of(policy: NetworkPolicy) -> str:
    """What is wrong with which policy, in 16 hexadecimal digits."""
    told = "\0".join([policy.uid, *map(str, policy.faults)])
    return blake2b(told.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def consequence_of(policy: NetworkPolicy) -> str:
    """A sentence that says what is closed until the policy is mended; empty when nothing is."""
    closed = [
        direction
        for direction, side in sorted(policy.sides.items(), key=lambda item: item[0].field)
        if side.faults
    ]
    if not closed:
        return "It is enforced nevertheless."
    whom = "every pod of the namespace" if policy.subject is None else "the pods it selects"
    directions = " and ".join(direction.field for direction in closed)
    return f"Until it is mended it admits no {directions} of {whom}."


def message_of(faults: Sequence[Fault], consequence: str) -> str:
    """Field, reason and consequence; of many faults as many as there is room for."""
    texts = [f"{fault.where}: {fault.reason}" if fault.where else fault.reason for fault in faults]
    for shown in range(len(texts), 0, -1):
        more = f"; and {len(texts) - shown} more" if shown < len(texts) else ""
        message = f"{'; '.join(texts[:shown])}{more}. {consequence}"
        if len(message) <= LONGEST_MESSAGE:
            return message
    room = LONGEST_MESSAGE - len(consequence) - 5
    return f"{texts[0][:room]}... {consequence}"


def event_of(policy: NetworkPolicy, moment: datetime.datetime) -> dict[str, object]:
    """The core/v1 Event for an invalid policy; `moment` is in UTC."""
    row = KINDS[Kind.POLICY]
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        # 253 characters at most, of which 17 are the signature and its dot.
        "metadata": {
            "namespace": policy.namespace,
            "name": f"{policy.name[:230].rstrip('.-')}.{signature_of(policy)}",
        },
        "involvedObject": {
            "apiVersion": row.api_version,
            "kind": Kind.POLICY.value,
            "namespace": policy.namespace,
            "name": policy.name,
            "uid": policy.uid,
            "fieldPath": policy.faults[0].where,
        },
        "type": "Warning",
        "reason": REASON,
        "message": message_of(policy.faults, consequence_of(policy)),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
