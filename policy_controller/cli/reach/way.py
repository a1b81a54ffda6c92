"""Where the operator runs, which of its pods is asked, and why it is not reached.

Knows pods as the API lists them. Knows nothing of how one is reached.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

SELECTOR: Final = "app.kubernetes.io/name=policy-controller"
"""Labels of the operator's pods (manifests/operator.yaml)."""
ADMIN_PORT: Final = 9471
SECONDS: Final = 20.0
"""How long reaching the operator, or one answer of it, may take."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a cluster is found: kubeconfig and context None are those that kubectl would take."""

    namespace: str
    port: int
    kubeconfig: str | None
    context: str | None


class NotReached(Exception):  # noqa: N818 - named for what it says
    """The operator is not reached; the text says why, in words that may come from the cluster."""


class NoOperator(NotReached):
    """The cluster was asked, and there is no operator to reach."""


class _Condition(msgspec.Struct):
    type: str
    status: str


class _Metadata(msgspec.Struct, rename="camel"):
    name: str
    deletion_timestamp: str | None = None


class _Status(msgspec.Struct):
    phase: str = ""
    conditions: Sequence[_Condition] = ()


class _Pod(msgspec.Struct):
    metadata: _Metadata
    status: _Status

    @property
    def unready(self) -> bool:
        return not any(one.type == "Ready" and one.status == "True" for one in self.status.conditions)


class _PodList(msgspec.Struct):
    items: Sequence[_Pod] | None


def running_pod(listed: bytes, namespace: str) -> str:
    """The name of the pod to ask, from a PodList as JSON: a running one, rather ready than not. Raises NotReached."""
    try:
        pods = msgspec.json.decode(listed, type=_PodList).items or ()
    except msgspec.MsgspecError as fault:
        raise NotReached(f"the API server's list of pods cannot be read: {fault}") from fault
    running = [
        pod for pod in pods if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None
    ]
    if running:
        return min(running, key=lambda pod: (pod.unready, pod.metadata.name)).metadata.name
    if pods:
        told = ", ".join(sorted(f"{pod.metadata.name} is {pod.status.phase or 'new'}" for pod in pods))
        raise NoOperator(f"no operator runs in namespace {namespace}: {told}")
    raise NoOperator(
        f"no pod of namespace {namespace} has the labels {SELECTOR}: name another with --operator-namespace"
    )
