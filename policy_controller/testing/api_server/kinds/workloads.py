"""Deployment, DaemonSet, StatefulSet, ReplicaSet, Job, CronJob: defaults, and whether selector and template agree."""

import copy
from collections.abc import Mapping
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.kinds.pod import pod_spec_faults, pod_spec_with_defaults
from policy_controller.testing.api_server.kinds.rules import Rules, immutable, section
from policy_controller.testing.api_server.schemas.checks import missing
from policy_controller.testing.api_server.schemas.shapes import kind_named

_ROLLING: Final = "RollingUpdate"

_APP_DEFAULTS: Final[Mapping[str, JsonObject]] = {
    "DaemonSet": {
        "revisionHistoryLimit": 10,
        "updateStrategy": {"type": _ROLLING, "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
    },
    "Deployment": {
        "progressDeadlineSeconds": 600,
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "strategy": {"type": _ROLLING, "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
    },
    "ReplicaSet": {"replicas": 1},
    "StatefulSet": {
        "podManagementPolicy": "OrderedReady",
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "updateStrategy": {"type": _ROLLING, "rollingUpdate": {"partition": 0}},
    },
}
_FIRST_STATUS: Final[Mapping[str, JsonObject]] = {
    "DaemonSet": dict.fromkeys(
        ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"), 0
    ),
    "ReplicaSet": {"replicas": 0},
    "StatefulSet": {"availableReplicas": 0, "replicas": 0},
}
_JOB_DEFAULTS: Final[JsonObject] = {
    "backoffLimit": 6,
    "completionMode": "NonIndexed",
    "completions": 1,
    "parallelism": 1,
    "suspend": False,
}
_CRON_DEFAULTS: Final[JsonObject] = {
    "concurrencyPolicy": "Allow",
    "failedJobsHistoryLimit": 1,
    "successfulJobsHistoryLimit": 3,
    "suspend": False,
}


def _fill(given: JsonObject, defaults: JsonObject) -> None:
    for name, value in defaults.items():
        present = given.setdefault(name, copy.deepcopy(value))
        # A strategy of another type has no settings of a rolling update.
        if isinstance(value, dict) and present.get("type", _ROLLING) == _ROLLING:
            _fill(present, value)


def _fill_template(spec: JsonObject) -> None:
    template = section(spec, "template")
    template["spec"] = pod_spec_with_defaults(section(template, "spec"))


def _template_faults(spec: JsonObject, path: str, restarts: tuple[str, ...]) -> list[FieldFault]:
    template = section(spec, "template")
    found = pod_spec_faults(template, f"{path}.template.spec")
    policy = section(template, "spec").get("restartPolicy")
    if policy not in restarts:
        words = "supported values: " + ", ".join(f'"{word}"' for word in restarts)
        at = f"{path}.template.spec.restartPolicy"
        found.append(FieldFault(at, Fault.NOT_SUPPORTED, words, policy))
    return found


def _selector_faults(spec: JsonObject) -> list[FieldFault]:
    selector, labels = (
        section(spec, "selector"),
        section(section(section(spec, "template"), "metadata"), "labels"),
    )
    wanted = section(selector, "matchLabels")
    if not wanted and not selector.get("matchExpressions"):
        return [FieldFault("spec.selector", Fault.INVALID, "empty selector is invalid", selector)]
    if any(labels.get(name) != value for name, value in wanted.items()):
        detail = "`selector` does not match template `labels`"
        return [FieldFault("spec.template.metadata.labels", Fault.INVALID, detail, labels)]
    return []


def _app(kind: str) -> Rules:
    shape = kind_named("apps/v1", kind)

    def begin(body: JsonObject) -> None:
        body["status"] = dict(_FIRST_STATUS.get(kind, {}))

    def fill(body: JsonObject) -> None:
        spec = section(body, "spec")
        _fill(spec, _APP_DEFAULTS[kind])
        _fill_template(spec)

    def faults(body: JsonObject) -> list[FieldFault]:
        if "selector" not in body["spec"]:
            return [FieldFault("spec.selector", Fault.REQUIRED, "")]
        found = _selector_faults(body["spec"]) + _template_faults(body["spec"], "spec", ("Always",))
        return _with_missing(found, missing(body, shape, "spec"))

    def follow(before: JsonObject, after: JsonObject) -> list[FieldFault]:
        return immutable(before, after, "spec.selector")

    return Rules(begin=begin, shape=fill, validate=faults, follow=follow)


def _with_missing(found: list[FieldFault], absent: list[FieldFault]) -> list[FieldFault]:
    """Each path is complained of once."""
    seen = {fault.path for fault in found}
    return found + [fault for fault in absent if fault.path not in seen]


_ENDING: Final = ("OnFailure", "Never")


def _begin_empty(body: JsonObject) -> None:
    body["status"] = {}


def _fill_job(body: JsonObject) -> None:
    _fill_job_spec(section(body, "spec"))


def _fill_job_spec(spec: JsonObject) -> None:
    _fill(spec, _JOB_DEFAULTS)
    _fill_template(spec)


def _fill_cron(body: JsonObject) -> None:
    spec = section(body, "spec")
    _fill(spec, _CRON_DEFAULTS)
    _fill_job_spec(section(section(spec, "jobTemplate"), "spec"))


def _job_faults(body: JsonObject) -> list[FieldFault]:
    found = _template_faults(body["spec"], "spec", _ENDING)
    return _with_missing(found, missing(body, kind_named("batch/v1", "Job"), "spec"))


def _cron_faults(body: JsonObject) -> list[FieldFault]:
    job = section(section(body["spec"], "jobTemplate"), "spec")
    found = _template_faults(job, "spec.jobTemplate.spec", _ENDING)
    return _with_missing(found, missing(body, kind_named("batch/v1", "CronJob"), "spec"))


def _job_follows(before: JsonObject, after: JsonObject) -> list[FieldFault]:
    _fill_job(after)
    return immutable(before, after, "spec.completions", "spec.selector", "spec.template")


WORKLOADS: Final[Mapping[str, Rules]] = {
    "cronjobs.batch": Rules(begin=_begin_empty, shape=_fill_cron, validate=_cron_faults),
    "daemonsets.apps": _app("DaemonSet"),
    "deployments.apps": _app("Deployment"),
    "jobs.batch": Rules(begin=_begin_empty, shape=_fill_job, validate=_job_faults, follow=_job_follows),
    "replicasets.apps": _app("ReplicaSet"),
    "statefulsets.apps": _app("StatefulSet"),
}
