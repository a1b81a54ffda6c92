"""A small installation that hostile objects are put into, and the policy whose way to the kernel is timed meanwhile.

Knows the API by HTTP and packets by probes. Knows nothing of what a hostile object should close.
"""

import asyncio
import json
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from compilers.evaluate.decision import Verdict
from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import traffic_between
from compilers.model.words import Protocol
from policy_controller.testing.hostile.case import ADMITS_CLIENT, GOOD, PORT, PREY, Case, namespace, policy
from policy_controller.testing.installation.api import COLLECTIONS, MERGE
from policy_controller.testing.installation.installation import Installation, stored_cluster
from policy_controller.testing.installation.settings import NAMESPACE as OURS
from policy_controller.testing.laboratory import Laboratory, NetworkKind
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, Transport, Watch

Json = dict[str, Any]

PODS: Final = (("web", PREY, "node-a"), ("server", GOOD, "node-a"), ("client", GOOD, "node-b"))
WITNESSED: Final = 82
"""The port that the witness opens and closes."""
WITHIN: Final = 30.0


class Village:
    """API server, operator and two enforcers as processes, three pods; an async context manager."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()
        self._open = False

    async def __aenter__(self) -> Self:
        self.laboratory = self._stack.enter_context(Laboratory(network=NetworkKind.BRIDGE))
        self.prober = await self._stack.enter_async_context(Prober())
        installation = Installation(self.laboratory, self._directory)
        self.installation = await self._stack.enter_async_context(installation)
        self.api = await self.installation.start()
        for name in ("node-a", "node-b"):
            await asyncio.to_thread(self.laboratory.add_node, name)
            await self.installation.add_node(name)
        for name in (PREY, GOOD):
            await self.api.create(namespace(name))
        for name, place, node in PODS:
            await self._add_pod(name, place, node)
        await self.api.create(policy(ADMITS_CLIENT, "admits-client", GOOD))
        await self.installation.settled()
        await self.settled()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def settled(self) -> None:
        """Return when every kernel holds what the API server's objects compile to, and every process lives."""
        await self.installation.in_force(await stored_cluster(self.api), seconds=60)

    async def put(self, objects: Iterable[Json]) -> bool:
        """Create the objects, status included; False when the API server refuses one of them."""
        for tree in objects:
            status, name = tree.get("status"), tree["metadata"]["name"]
            path = COLLECTIONS[tree["kind"]].format(_scope(tree))
            answer = await self._send("POST", path, tree)
            if answer == 409:
                answer = await self._send("PATCH", f"{path}/{name}", {"metadata": tree["metadata"]})
            if answer < 300 and tree["kind"] in {"Pod", "Node"} and status is not None:
                answer = await self._send("PATCH", f"{path}/{name}/status", {"status": status})
            if answer >= 300:
                return False
        return True

    async def clear(self) -> None:
        """Delete what is hostile: all policies of the prey, and every pod and node that is none of ours."""
        ours = {name for name, _, _ in PODS} | {"node-a", "node-b"}
        spared = {GOOD, OURS}
        for kind in ("NetworkPolicy", "Pod", "Node"):
            for tree in await self.api.list(kind):
                metadata = tree["metadata"]
                if metadata["name"] not in ours and metadata.get("namespace") not in spared:
                    await self.api.delete(kind, metadata.get("namespace", ""), metadata["name"])
        await self._send("PATCH", f"/api/v1/namespaces/{PREY}", {"metadata": {"labels": None}})

    async def witnessed(self, watch: Watch) -> float:
        """Seconds from a change of a good policy to the first packet that meets it."""
        self._open = not self._open
        ports = [{"port": PORT}, *([{"port": WITNESSED}] if self._open else [])]
        rule = ADMITS_CLIENT["ingress"][0] | {"ports": ports}
        since = time.monotonic()
        await self.api.patch("NetworkPolicy", GOOD, "admits-client", {"spec": {"ingress": [rule]}})
        outcome = Outcome.ACCEPTED if self._open else Outcome.TIMED_OUT
        return (await watch.changed_to(outcome, since=since, within=WITHIN)).sent_at - since

    async def admits(self, case: Case) -> bool:
        """Whether the client may reach the prey, by what the API server made of the case."""
        cluster = await stored_cluster(self.api)
        source, destination = (self.laboratory.pods[name].addresses[0] for name in ("client", "web"))
        traffic = traffic_between(cluster, source, destination, Protocol.TCP, PORT)
        return judge(cluster, traffic).verdict is Verdict.ALLOWED and not case.beyond_room

    def way(self, source: str, destination: str, port: int) -> Probe:
        """A probe between two pods over IPv4."""
        here, there = self.laboratory.pods[source], self.laboratory.pods[destination]
        return Probe(Endpoint(here.namespace, here.addresses[0]), there.addresses[0], Transport.TCP, port)

    async def admin(self, path: str) -> str:
        """What the operator tells of itself."""
        return await self.installation.admin(path)

    def logs(self) -> dict[str, str]:
        """What each process has logged."""
        return {
            path.stem: path.read_text("utf-8", "replace") for path in sorted(self._directory.glob("*.log"))
        }

    async def _add_pod(self, name: str, place: str, node: str) -> None:
        built = await asyncio.to_thread(self.laboratory.add_pod, self.laboratory.nodes[node], name)
        self.prober.listen(Listener(built.namespace, name, (PORT, PORT + 1, WITNESSED)))
        addresses = [{"ip": str(address)} for address in built.addresses]
        metadata = {"namespace": place, "name": name, "labels": {"app": name}}
        spec = {"nodeName": node, "containers": [{"name": "main", "image": "registry.example/app:1"}]}
        status = {"phase": "Running", "podIP": addresses[0]["ip"], "podIPs": addresses}
        await self.put(
            [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}]
        )

    async def _send(self, method: str, path: str, document: Json) -> int:
        headers = {"Content-Type": MERGE if method == "PATCH" else "application/json"}
        # Half surrogate pairs and infinities go out as they are.
        content = json.dumps(document).encode()
        async with self.api.session.request(
            method, self.api.url + path, data=content, headers=headers
        ) as answer:
            await answer.read()
            return answer.status


def _scope(tree: Json) -> str:
    place = tree["metadata"].get("namespace")
    return f"namespaces/{place}/" if place else ""
