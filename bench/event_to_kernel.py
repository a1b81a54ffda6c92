"""`event`: from the moment the API server has a write to the moment a node's kernel has committed what it means.

The set-up of the demo: development API server, operator and two enforcers as processes, all on this machine. Pods live on
one node and their peers on the other, so each event has work on a node that it does not happen on.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from bench.measure import MILLISECONDS, Measured, high, median
from policy_controller.testing.installation.api import Api
from policy_controller.testing.installation.commits import Commits
from policy_controller.testing.installation.installation import Installation, stored_cluster
from policy_controller.testing.laboratory import Laboratory

NODES: Final = ("node-a", "node-b")
NAMESPACE: Final = "shop"
ROUNDS: Final = 25
WITHIN_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.001
Json = dict[str, Any]


def measure() -> Measured:
    """Medians and the values that 95 of 100 do not exceed, for each kind of event."""
    samples = asyncio.run(_samples())
    metrics: dict[str, float] = {}
    for name, took in samples.items():
        metrics[f"{name}_ms"] = median(took, MILLISECONDS)
        metrics[f"{name}_p95_ms"] = high(took, MILLISECONDS)
    return Measured("event", metrics)


async def _samples() -> dict[str, list[float]]:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="policy-controller-bench-")))
        laboratory = stack.enter_context(Laboratory())
        installation = await stack.enter_async_context(Installation(laboratory, folder))
        api = await installation.start()
        for name in NODES:
            await asyncio.to_thread(laboratory.add_node, name)
            await installation.add_node(name)
        await _populate(api)
        await installation.settled()
        await installation.in_force(await stored_cluster(api), seconds=60)
        commits = [stack.enter_context(Commits(name)) for name in installation.node_namespaces()]
        return await _Events(api, installation, commits).run()


async def _populate(api: Api) -> None:
    await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    for number in range(1, 31):
        node = NODES[number % 2]
        await _create_pod(api, f"pod-{number}", node, f"10.244.{1 + number % 2}.{100 + number}")
    await api.create(_policy("closed", {"podSelector": {}, "policyTypes": ["Ingress"]}))
    await api.create(_policy("web", _admit("web")))


async def _create_pod(api: Api, name: str, node: str, address: str, app: str = "web") -> None:
    await api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"namespace": NAMESPACE, "name": name, "labels": {"app": app}},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "registry.example/app:1"}]},
        }
    )
    status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
    await api.patch("Pod", NAMESPACE, name, {"status": status}, "/status")


def _policy(name: str, spec: Json) -> Json:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": spec,
    }


def _admit(app: str) -> Json:
    peer = {"podSelector": {"matchLabels": {"app": app}}}
    return {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [peer], "ports": [{"port": 80}]}],
    }


class _Events:
    """Makes each kind of event in turn and dates the first commit that follows it."""

    def __init__(self, api: Api, installation: Installation, commits: list[Commits]) -> None:
        self._api = api
        self._installation = installation
        self._commits = commits

    async def run(self) -> dict[str, list[float]]:
        """Seconds from the API server's answer back to its request, for each kind of event."""
        samples: dict[str, list[float]] = {}
        for number in range(ROUNDS):
            for name, event in self._events(number):
                samples.setdefault(name, []).append(await self._timed(event))
        return samples

    def _events(self, number: int) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
        api, live = self._api, _policy("live", _admit("guest"))
        edited = {"spec": _admit(f"guest-{number}")}
        label = {"metadata": {"labels": {"app": f"other-{number}"}}}
        return [
            ("policy_created", lambda: api.create(live)),
            ("policy_edited", lambda: api.patch("NetworkPolicy", NAMESPACE, "live", edited)),
            ("pod_relabelled", lambda: api.patch("Pod", NAMESPACE, "pod-1", label)),
            (
                "pod_relabelled",
                lambda: api.patch("Pod", NAMESPACE, "pod-1", {"metadata": {"labels": {"app": "web"}}}),
            ),
            ("policy_deleted", lambda: api.delete("NetworkPolicy", NAMESPACE, "live")),
        ]

    async def _timed(self, event: Callable[[], Awaitable[object]]) -> float:
        begun = time.monotonic()
        await event()
        deadline = begun + WITHIN_SECONDS
        while not (found := [moment for one in self._commits for moment in one.between(begun, deadline)]):
            if time.monotonic() > deadline:
                raise TimeoutError("no kernel committed anything")
            await asyncio.sleep(POLL_SECONDS)
        # What follows must not begin while an enforcer still has phases of this one to commit.
        await self._installation.in_force(await stored_cluster(self._api))
        return min(found) - begun
