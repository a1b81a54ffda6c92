"""One valid document of every stored kind, each with its namespace where it has one."""

from typing import Any

RBAC = "rbac.authorization.k8s.io"
LABELS = {"app": "web"}
CONTAINER = {
    "name": "main",
    "image": "example.com/web:1",
    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
    "env": [{"name": "COLOUR", "value": "green"}],
    "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
}
POD_SPEC = {"containers": [CONTAINER], "volumes": [{"name": "cache", "emptyDir": {}}]}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD_SPEC}
ONCE = {"metadata": {"labels": LABELS}, "spec": {**POD_SPEC, "restartPolicy": "Never"}}
APP = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
ACCOUNT = [{"kind": "ServiceAccount", "name": "web", "namespace": "default"}]

# (apiVersion, kind) -> everything but metadata
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("apps/v1", "DaemonSet"): {"spec": APP},
    ("apps/v1", "Deployment"): {"spec": APP},
    ("apps/v1", "ReplicaSet"): {"spec": APP},
    ("apps/v1", "StatefulSet"): {"spec": {**APP, "serviceName": "web"}},
    ("batch/v1", "CronJob"): {"spec": {"schedule": "5 4 * * *", "jobTemplate": {"spec": {"template": ONCE}}}},
    ("batch/v1", "Job"): {"spec": {"template": ONCE}},
    ("coordination.k8s.io/v1", "Lease"): {"spec": {"holderIdentity": "node-a", "leaseDurationSeconds": 40}},
    ("discovery.k8s.io/v1", "EndpointSlice"): {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.0.1"], "conditions": {"ready": True}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    },
    ("events.k8s.io/v1", "Event"): {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "web", "namespace": "default"},
        "reason": "Tested",
        "note": "by a test",
        "type": "Normal",
    },
    ("networking.k8s.io/v1", "NetworkPolicy"): {
        "spec": {
            "podSelector": {"matchLabels": LABELS},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
                    "ports": [{"port": 80, "protocol": "TCP"}],
                }
            ],
        }
    },
    ("policy/v1", "PodDisruptionBudget"): {"spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}}},
    (f"{RBAC}/v1", "ClusterRole"): {"rules": RULES},
    (f"{RBAC}/v1", "ClusterRoleBinding"): {
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "web"},
        "subjects": ACCOUNT,
    },
    (f"{RBAC}/v1", "Role"): {"rules": RULES},
    (f"{RBAC}/v1", "RoleBinding"): {
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "web"},
        "subjects": ACCOUNT,
    },
    ("scheduling.k8s.io/v1", "PriorityClass"): {"value": 1_000, "description": "for tests"},
    ("v1", "ConfigMap"): {"data": {"colour": "green"}},
    ("v1", "Endpoints"): {"subsets": [{"addresses": [{"ip": "10.1.0.1"}], "ports": [{"port": 8080}]}]},
    ("v1", "Event"): {
        "involvedObject": {"kind": "Pod", "name": "web", "namespace": "default"},
        "reason": "Tested",
        "message": "by a test",
        "type": "Normal",
    },
    ("v1", "LimitRange"): {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}},
    ("v1", "Namespace"): {},
    ("v1", "Node"): {"spec": {"podCIDRs": ["10.1.0.0/24"]}},
    ("v1", "Pod"): {"spec": POD_SPEC},
    ("v1", "ResourceQuota"): {"spec": {"hard": {"pods": "10"}}},
    ("v1", "Secret"): {"data": {"key": "dmFsdWU="}},
    ("v1", "Service"): {"spec": {"selector": LABELS, "ports": [{"name": "http", "port": 80}]}},
    ("v1", "ServiceAccount"): {},
}


def sample(api_version: str, kind: str, name: str = "web", **metadata: object) -> dict[str, Any]:
    head = {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, **metadata}}
    return {**head, **BODIES[api_version, kind]}
