"""The columns of what runs pods."""

import datetime
from collections.abc import Callable, Mapping
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.tables.columns import (
    AGE,
    NAME,
    NONE,
    UNSET,
    Column,
    at,
    container_columns,
    counted,
    human,
    moment,
    pairs,
    plain,
    selector,
    shown,
    since,
    wide,
)

_TEMPLATE: Final = "spec.template.spec"
_SELECTOR: Final = wide("Selector", lambda body: selector(at(body, "spec.selector", {})))


def _share(ready: str, wanted: str) -> Callable[[JsonObject], object]:
    return lambda body: f"{at(body, ready, 0)}/{at(body, wanted, 0)}"


def _number(dotted: str) -> Callable[[JsonObject], object]:
    return lambda body: at(body, dotted, 0)


def _job_status(body: JsonObject) -> object:
    true = {one.get("type") for one in at(body, "status.conditions", []) if one.get("status") == "True"}
    for condition, word in (("Complete", "Complete"), ("Failed", "Failed"), ("Suspended", "Suspended")):
        if condition in true:
            return word
    return "Terminating" if at(body, "metadata.deletionTimestamp") else "Running"


def _job_duration(body: JsonObject, now: datetime.datetime) -> object:
    start, end = moment(at(body, "status.startTime")), moment(at(body, "status.completionTime"))
    return "" if start is None else human(int(((end or now) - start).total_seconds()))


def _last_schedule(body: JsonObject, now: datetime.datetime) -> object:
    last = at(body, "status.lastScheduleTime")
    return since(last, now) if last else NONE


WORKLOAD_COLUMNS: Final[Mapping[str, tuple[Column, ...]]] = {
    "cronjobs.batch": (
        NAME,
        shown("Schedule", plain("spec.schedule")),
        shown("Timezone", plain("spec.timeZone", NONE)),
        Column("Suspend", lambda body, _: str(at(body, "spec.suspend", False)), type="boolean"),
        counted("Active", lambda body: len(at(body, "status.active", []))),
        Column("Last Schedule", _last_schedule),
        AGE,
        *container_columns("spec.jobTemplate.spec.template.spec"),
    ),
    "daemonsets.apps": (
        NAME,
        counted("Desired", _number("status.desiredNumberScheduled")),
        counted("Current", _number("status.currentNumberScheduled")),
        counted("Ready", _number("status.numberReady")),
        counted("Up-to-date", _number("status.updatedNumberScheduled")),
        counted("Available", _number("status.numberAvailable")),
        shown("Node Selector", lambda body: pairs(at(body, f"{_TEMPLATE}.nodeSelector", {}))),
        AGE,
        *container_columns(_TEMPLATE),
        _SELECTOR,
    ),
    "deployments.apps": (
        NAME,
        shown("Ready", _share("status.readyReplicas", "spec.replicas")),
        counted("Up-to-date", _number("status.updatedReplicas")),
        counted("Available", _number("status.availableReplicas")),
        AGE,
        *container_columns(_TEMPLATE),
        _SELECTOR,
    ),
    "jobs.batch": (
        NAME,
        shown("Status", _job_status),
        shown("Completions", _share("status.succeeded", "spec.completions")),
        Column("Duration", _job_duration),
        AGE,
        *container_columns(_TEMPLATE),
        _SELECTOR,
    ),
    "poddisruptionbudgets.policy": (
        NAME,
        shown("Min Available", plain("spec.minAvailable", "N/A")),
        shown("Max Unavailable", plain("spec.maxUnavailable", "N/A")),
        counted("Allowed Disruptions", _number("status.disruptionsAllowed")),
        AGE,
    ),
    "priorityclasses.scheduling.k8s.io": (
        NAME,
        counted("Value", _number("value")),
        Column("Global-Default", lambda body, _: bool(at(body, "globalDefault", False)), type="boolean"),
        AGE,
        shown("PreemptionPolicy", plain("preemptionPolicy", UNSET)),
    ),
    "replicasets.apps": (
        NAME,
        counted("Desired", _number("spec.replicas")),
        counted("Current", _number("status.replicas")),
        counted("Ready", _number("status.readyReplicas")),
        AGE,
        *container_columns(_TEMPLATE),
        _SELECTOR,
    ),
    "statefulsets.apps": (
        NAME,
        shown("Ready", _share("status.readyReplicas", "spec.replicas")),
        AGE,
        *container_columns(_TEMPLATE),
    ),
}
