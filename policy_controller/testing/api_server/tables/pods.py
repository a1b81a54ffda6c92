"""The columns of Pod: a word for its state takes some reading."""

import datetime
from typing import Any, Final

from policy_controller.testing.api_server.documents import JsonObject, metadata_of
from policy_controller.testing.api_server.tables.columns import (
    AGE,
    NAME,
    NONE,
    Column,
    at,
    plain,
    shown,
    since,
    wide,
)


def _statuses(body: JsonObject, field: str) -> list[JsonObject]:
    found: list[JsonObject] = at(body, f"status.{field}", [])
    return found


def _ready(body: JsonObject) -> str:
    ready = sum(bool(one.get("ready")) for one in _statuses(body, "containerStatuses"))
    return f"{ready}/{len(at(body, 'spec.containers', []))}"


def _status(body: JsonObject) -> str:
    word = str(at(body, "status.reason") or at(body, "status.phase", "Unknown"))
    word = _initializing(body) or _ended_or_waiting(body) or word
    if "deletionTimestamp" in metadata_of(body):
        return "Unknown" if at(body, "status.reason") == "NodeLost" else "Terminating"
    return word


def _initializing(body: JsonObject) -> str:
    statuses = _statuses(body, "initContainerStatuses")
    for index, one in enumerate(statuses):
        state = one.get("state", {})
        ended, waiting = state.get("terminated"), state.get("waiting", {})
        if ended is not None and not ended.get("exitCode"):
            continue
        if ended is not None:
            return f"Init:{_how_ended(ended)}"
        reason = waiting.get("reason")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{len(at(body, 'spec.initContainers', statuses))}"
    return ""


def _ended_or_waiting(body: JsonObject) -> str:
    for one in reversed(_statuses(body, "containerStatuses")):
        state = one.get("state", {})
        if state.get("waiting", {}).get("reason"):
            return str(state["waiting"]["reason"])
        if "terminated" in state:
            return _how_ended(state["terminated"])
    return ""


def _how_ended(ended: JsonObject) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    signal = ended.get("signal")
    return f"Signal:{signal}" if signal else f"ExitCode:{ended.get('exitCode', 0)}"


def _restarts(body: JsonObject, now: datetime.datetime) -> object:
    statuses = _statuses(body, "containerStatuses")
    count = sum(one.get("restartCount", 0) for one in statuses)
    ended = [at(one, "lastState.terminated.finishedAt") for one in statuses]
    last = max((time for time in ended if time), default="")
    return f"{count} ({since(last, now)} ago)" if count and last else str(count)


def _address(body: JsonObject) -> object:
    addresses: list[Any] = at(body, "status.podIPs", [])
    return at(body, "status.podIP") or (addresses[0].get("ip", NONE) if addresses else NONE)


def _gates(body: JsonObject) -> object:
    gates = at(body, "spec.readinessGates", [])
    if not gates:
        return NONE
    true = {one.get("type") for one in at(body, "status.conditions", []) if one.get("status") == "True"}
    return f"{sum(gate.get('conditionType') in true for gate in gates)}/{len(gates)}"


POD_COLUMNS: Final = (
    NAME,
    shown("Ready", _ready),
    shown("Status", _status),
    Column("Restarts", _restarts),
    AGE,
    wide("IP", _address),
    wide("Node", plain("spec.nodeName", NONE)),
    wide("Nominated Node", plain("status.nominatedNodeName", NONE)),
    wide("Readiness Gates", _gates),
)
