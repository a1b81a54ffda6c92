"""A development API server with RBAC, an operator's pod in it that somebody forwards ports into, and a user who may ask.

Knows the permissions that policyctl takes (docs/security.md). What answers in the pod, the test says.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from policy_controller import bounded
from policy_controller.cli.reach.way import Way
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.doors import Door
from policy_controller.testing.api_server.faults import Faults
from policy_controller.testing.api_server.features import Features, Kubelet, Permission, Transport

NAMESPACE: Final = "policy-controller"
POD: Final = "policy-controller-1"
USER: Final = "reader"
FEATURES: Final = Features(Transport.TLS, permission=Permission.AUTHORIZED, kubelet=Kubelet.PLAYED)
RBAC: Final = "rbac.authorization.k8s.io"

MAY_LIST: Final = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
MAY_FORWARD: Final = {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]}
RULES: Final = (MAY_LIST, MAY_FORWARD)

Document = dict[str, Any]


def pod(name: str, phase: str = "Running", ready: str = "True") -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": NAMESPACE,
            "name": name,
            "labels": {"app.kubernetes.io/name": "policy-controller"},
        },
        "spec": {"nodeName": "node-a", "containers": [{"name": "operator", "image": "i"}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]},
    }


@dataclass(frozen=True)
class Installed:
    """The cluster, and the way to its operator for a user who may do what RULES say."""

    server: ApiServer
    kubeconfig: Path
    port: int

    def way(self, *, context: str | None = None, namespace: str = NAMESPACE) -> Way:
        return Way(namespace, self.port, str(self.kubeconfig), context)


@asynccontextmanager
async def installed(
    folder: Path,
    answers: Mapping[str, bytes],
    *,
    rules: Sequence[Document] = RULES,
    pods: Sequence[Document] = (pod(POD),),
    faults: Faults | None = None,
) -> AsyncIterator[Installed]:
    """A cluster whose operator pods answer so at these paths."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=answers[request.path])

    application = web.Application()
    application.add_routes([web.get(path, answer) for path in answers])
    async with (
        bounded.serving(application, "127.0.0.1", 0) as (_, port),
        ApiServer.running(features=FEATURES, faults=faults) as server,
    ):
        for document in (*_user(rules), *pods):
            uid = server.create(document)["metadata"]["uid"]
            if document["kind"] == "Pod":
                server.doors.open(Door(uid))
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(server.kubeconfig(server.token(USER, NAMESPACE)))
        yield Installed(server, kubeconfig, port)


def _user(rules: Sequence[Document]) -> Sequence[Document]:
    metadata = {"namespace": NAMESPACE, "name": USER}
    return (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": list(rules)},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": USER},
            "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": USER}],
        },
    )
