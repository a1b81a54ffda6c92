"""What runs pods, and what is said of pods together: apps, batch, policy, scheduling, networking, coordination."""

from typing import Final

from policy_controller.testing.api_server.resources.rows import (
    Generation,
    Put,
    Resource,
    Scope,
    selectable,
)


def _app(kind: str, plural: str, short_name: str, *, scalable: bool) -> Resource:
    return Resource(
        group="apps",
        version="v1",
        kind=kind,
        plural=plural,
        short_names=(short_name,),
        categories=("all",),
        subresources=("scale", "status") if scalable else ("status",),
        generation=Generation.COUNTED,
    )


WORKLOADS: Final = (
    _app("DaemonSet", "daemonsets", "ds", scalable=False),
    _app("Deployment", "deployments", "deploy", scalable=True),
    _app("ReplicaSet", "replicasets", "rs", scalable=True),
    _app("StatefulSet", "statefulsets", "sts", scalable=True),
    Resource(
        group="batch",
        version="v1",
        kind="CronJob",
        plural="cronjobs",
        short_names=("cj",),
        categories=("all",),
        subresources=("status",),
        generation=Generation.COUNTED,
    ),
    Resource(
        group="batch",
        version="v1",
        kind="Job",
        plural="jobs",
        categories=("all",),
        subresources=("status",),
        generation=Generation.COUNTED,
        fields=selectable(**{"status.successful": "0"}),
    ),
    Resource(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", put=Put.VERSIONED),
    Resource(
        group="networking.k8s.io",
        version="v1",
        kind="NetworkPolicy",
        plural="networkpolicies",
        short_names=("netpol",),
        generation=Generation.COUNTED,
    ),
    Resource(
        group="policy",
        version="v1",
        kind="PodDisruptionBudget",
        plural="poddisruptionbudgets",
        short_names=("pdb",),
        subresources=("status",),
        generation=Generation.COUNTED,
    ),
    Resource(
        group="scheduling.k8s.io",
        version="v1",
        kind="PriorityClass",
        plural="priorityclasses",
        scope=Scope.CLUSTER,
        short_names=("pc",),
        generation=Generation.COUNTED,
    ),
)
