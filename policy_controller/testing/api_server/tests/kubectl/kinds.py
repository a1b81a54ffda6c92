"""The kinds that kubectl is tried with: what it calls them, what it prints of them, what is changed in them."""

from dataclasses import dataclass
from typing import Any

from policy_controller.testing.api_server.resources import BY_KIND, Resource, Scope
from policy_controller.testing.api_server.tests.samples import RBAC, sample

IMAGE = "spec.template.spec.containers.0.image"
ENVIRONMENT = "spec.template.spec.containers.0.env"
NEWER = "example.com/web:2"
VERBS = "rules.0.verbs"


@dataclass(frozen=True, slots=True)
class Case:
    """A kind; `header` is what `get` prints above it, `more` what `-o wide` adds; `change` and `removal` are paths."""

    api_version: str
    kind: str
    header: str
    change: tuple[str, Any]
    removal: str
    more: str = ""

    @property
    def resource(self) -> Resource:
        return BY_KIND[self.api_version, self.kind]

    @property
    def plural(self) -> str:
        """How kubectl prints and takes it: with its group."""
        return self.resource.qualified

    @property
    def singular(self) -> str:
        row = self.resource
        return f"{row.singular}.{row.group}" if row.group else row.singular

    @property
    def namespaced(self) -> bool:
        return self.resource.scope is Scope.NAMESPACED

    def document(self, name: str = "web", **metadata: object) -> dict[str, Any]:
        return sample(self.api_version, self.kind, name, **metadata)


LABEL = "metadata.labels.stage"
PODS_WIDE = "CONTAINERS IMAGES SELECTOR"

NAMED: tuple[Case, ...] = (
    Case("v1", "Namespace", "NAME STATUS AGE", (LABEL, "b"), "metadata.labels"),
    Case(
        "v1",
        "Node",
        "NAME STATUS ROLES AGE VERSION",
        ("spec.unschedulable", True),
        "spec.unschedulable",
        "INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME",
    ),
    Case(
        "v1",
        "Pod",
        "NAME READY STATUS RESTARTS AGE",
        ("spec.containers.0.image", NEWER),
        "spec.containers.0.env",
        "IP NODE NOMINATED NODE READINESS GATES",
    ),
    Case(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        "NAME POD-SELECTOR AGE",
        ("spec.ingress.0.ports.0.port", 81),
        "spec.ingress.0.from",
    ),
    Case(
        "apps/v1",
        "Deployment",
        "NAME READY UP-TO-DATE AVAILABLE AGE",
        (IMAGE, NEWER),
        ENVIRONMENT,
        PODS_WIDE,
    ),
    Case(
        "apps/v1",
        "DaemonSet",
        "NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE SELECTOR AGE",
        (IMAGE, NEWER),
        ENVIRONMENT,
        PODS_WIDE,
    ),
    Case(
        "v1",
        "Service",
        "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
        ("spec.ports.0.targetPort", 8080),
        "spec.selector",
        "SELECTOR",
    ),
    Case("v1", "ServiceAccount", "NAME SECRETS AGE", ("automountServiceAccountToken", False), LABEL),
    Case(f"{RBAC}/v1", "Role", "NAME CREATED AT", (VERBS, ["get"]), LABEL),
    Case(
        f"{RBAC}/v1",
        "RoleBinding",
        "NAME ROLE AGE",
        ("subjects.0.name", "other"),
        "subjects",
        "USERS GROUPS SERVICEACCOUNTS",
    ),
    Case(f"{RBAC}/v1", "ClusterRole", "NAME CREATED AT", (VERBS, ["get"]), LABEL),
    Case(
        f"{RBAC}/v1",
        "ClusterRoleBinding",
        "NAME ROLE AGE",
        ("subjects.0.name", "other"),
        "subjects",
        "USERS GROUPS SERVICEACCOUNTS",
    ),
    Case("v1", "ConfigMap", "NAME DATA AGE", ("data.colour", "red"), "data.colour"),
    Case("v1", "Secret", "NAME TYPE DATA AGE", ("data.key", "cmVk"), "data.key"),
    Case(
        "coordination.k8s.io/v1",
        "Lease",
        "NAME HOLDER AGE",
        ("spec.holderIdentity", "node-b"),
        "spec.leaseDurationSeconds",
    ),
)
"""The kinds of an installation."""

OTHERS: tuple[Case, ...] = (
    Case("apps/v1", "ReplicaSet", "NAME DESIRED CURRENT READY AGE", (IMAGE, NEWER), ENVIRONMENT, PODS_WIDE),
    Case("apps/v1", "StatefulSet", "NAME READY AGE", (IMAGE, NEWER), ENVIRONMENT, "CONTAINERS IMAGES"),
    Case(
        "batch/v1",
        "CronJob",
        "NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST SCHEDULE AGE",
        ("spec.suspend", True),
        "spec.jobTemplate.spec.template.spec.containers.0.env",
        "CONTAINERS IMAGES",
    ),
    Case(
        "batch/v1",
        "Job",
        "NAME STATUS COMPLETIONS DURATION AGE",
        ("spec.suspend", True),
        LABEL,
        PODS_WIDE,
    ),
    Case(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        "NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
        ("ports.0.port", 81),
        "endpoints.0.conditions",
    ),
    Case(
        "policy/v1",
        "PodDisruptionBudget",
        "NAME MIN AVAILABLE MAX UNAVAILABLE ALLOWED DISRUPTIONS AGE",
        ("spec.minAvailable", 2),
        "spec.minAvailable",
    ),
    Case(
        "scheduling.k8s.io/v1",
        "PriorityClass",
        "NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY",
        ("description", "other"),
        "description",
    ),
    Case("v1", "Endpoints", "NAME ENDPOINTS AGE", ("subsets.0.ports.0.port", 81), "subsets"),
    Case("v1", "LimitRange", "NAME CREATED AT", ("spec.limits.0.max.cpu", "2"), LABEL),
    Case("v1", "ResourceQuota", "NAME REQUEST LIMIT AGE", ("spec.hard.pods", "11"), LABEL),
)

EVENT = Case(
    "v1",
    "Event",
    "LAST SEEN TYPE REASON OBJECT MESSAGE",
    ("message", "other"),
    LABEL,
    "SUBOBJECT SOURCE MESSAGE FIRST SEEN COUNT NAME",
)
"""Its table begins with no name, and its wide columns stand among the others: it has tests of its own."""
