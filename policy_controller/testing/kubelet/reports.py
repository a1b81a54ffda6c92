"""What a kubelet says of a pod: phase, addresses, conditions, the state of each container.

Pure. Source: the API's PodStatus.
"""

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from policy_controller.testing.laboratory import Address

Json = dict[str, Any]


@dataclass(slots=True)
class State:
    """One container. `waiting` is why it does not run, `last` the exit code with which it last ended."""

    name: str
    image: str
    running_since: datetime.datetime | None = None
    started: bool = False
    ready: bool = False
    restarts: int = 0
    waiting: tuple[str, str] = ("ContainerCreating", "")
    last: int | None = None


def status_of(
    states: Iterable[State], addresses: Sequence[Address], host: Sequence[Address], since: str
) -> Json:
    """PodStatus; `since` is when the pod was accepted, `host` its node's addresses."""
    known = list(states)
    ready = all(state.ready for state in known)
    begun = any(state.running_since is not None or state.restarts for state in known)
    unready = (
        ""
        if ready
        else "containers with unready status: " + ", ".join(state.name for state in known if not state.ready)
    )
    conditions = [
        _condition("PodScheduled", True, since),
        _condition("Initialized", True, since),
        _condition("ContainersReady", ready, since, unready),
        _condition("Ready", ready, since, unready),
    ]
    return {
        "phase": "Running" if begun else "Pending",
        "hostIP": str(host[0]),
        "hostIPs": [{"ip": str(address)} for address in host],
        "podIP": str(addresses[0]) if addresses else None,
        "podIPs": [{"ip": str(address)} for address in addresses] or None,
        "startTime": since,
        "conditions": conditions,
        "containerStatuses": [_container(state) for state in known],
    }


def stamp(moment: datetime.datetime) -> str:
    """As the API writes times."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(kind: str, holds: bool, since: str, message: str = "") -> Json:
    told = {"reason": "ContainersNotReady", "message": message} if message else {}
    return {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": since, **told}


def _container(state: State) -> Json:
    if state.running_since is not None:
        now: Json = {"running": {"startedAt": stamp(state.running_since)}}
    else:
        reason, message = state.waiting
        now = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    last = {} if state.last is None else {"terminated": {"exitCode": state.last, "reason": "Error"}}
    return {
        "name": state.name,
        "image": state.image,
        "imageID": state.image,
        "ready": state.ready,
        "started": state.started,
        "restartCount": state.restarts,
        "state": now,
        "lastState": last,
    }
