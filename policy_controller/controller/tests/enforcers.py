"""Enforcers as the API server knows them: their service account, a pod of it on each node, and its tokens.

Knows what an installation creates. Knows nothing of the operator.
"""

from collections.abc import Iterable

from policy_controller.controller.tests.objects import metadata, namespace, new, pod
from policy_controller.controller.tests.scripted_node import Door
from policy_controller.testing.api_server import ApiError, ApiServer
from policy_controller.testing.credentials import NAMESPACE, SERVER_NAME
from policy_controller.wire.channel import AUDIENCE, HostPort, Trust

ACCOUNT = "policy-enforcer"
AUTHORITY = "policy-controller-ca"


def install(server: ApiServer, nodes: Iterable[str] = ()) -> None:
    """What must be there before a node can prove who it is, and a pod of an enforcer on each of these nodes."""
    server.create(new(namespace(NAMESPACE)))
    account = metadata(ACCOUNT, NAMESPACE, 0, "", None)
    server.create(new({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}))
    for node in nodes:
        tree = pod(f"enforcer-{node}", namespace=NAMESPACE, node=node)
        spec = {**tree["spec"], "hostNetwork": True, "serviceAccountName": ACCOUNT}
        server.create(new({**tree, "spec": spec}))


def token_of(server: ApiServer, node: str, seconds: float = 3_600) -> str:
    """A token of the enforcer on a node, bound to its pod."""
    return server.token(ACCOUNT, NAMESPACE, audience=AUDIENCE, pod=f"enforcer-{node}", seconds=seconds)


def published(server: ApiServer) -> str:
    """The authorities that enforcers are told to trust; empty while there are none."""
    try:
        text: str = server.get("ConfigMap", AUTHORITY, NAMESPACE)["data"]["ca.crt"]
    except ApiError:
        return ""
    return text


def door(server: ApiServer, port: int) -> Door:
    """The way to an operator of this API server that listens on a port of this machine."""
    trust = Trust(published(server).encode(), SERVER_NAME)
    return Door(HostPort("127.0.0.1", port), trust, lambda node: token_of(server, node))
