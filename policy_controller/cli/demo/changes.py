"""Live changes: a policy and a pod come, change and go, and how long each takes to reach kernel and packets.

Knows which pair shows each change, chosen with the evaluator so that it works for any scene. Prints nothing.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from compilers.evaluate.decision import Outcome as GateOutcome
from compilers.evaluate.decision import Verdict
from compilers.evaluate.ends import PodEnd
from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import Traffic, traffic_between
from compilers.model.cluster import NAME_LABEL, Cluster, Pod
from compilers.model.words import Protocol
from policy_controller.cli.demo.matrix import probe_of
from policy_controller.testing.examples import place
from policy_controller.testing.installation.api import Api
from policy_controller.testing.installation.commits import Commits
from policy_controller.testing.installation.installation import Installation, stored_cluster
from policy_controller.testing.installation.population import Population
from policy_controller.testing.installation.trees import PodKey, Service
from policy_controller.testing.probe import Outcome, ProbeError, Prober

Json = dict[str, Any]

POLICY: Final = "demo-live"
GUEST: Final = "demo-live"
WITHIN_SECONDS: Final = 10.0
OUTCOME: Final = {Verdict.ALLOWED: Outcome.ACCEPTED, Verdict.DENIED: Outcome.TIMED_OUT}
"""What packets see; somebody listens on the port of the pair."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change: milliseconds from the API write to the kernel's commit and to the first packet judged anew.

    None: the packets never saw it, or the kernel's time was lost.
    """

    what: str
    pair: str
    expected: Verdict
    kernel_ms: float | None
    packet_ms: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """The connection that shows the changes, and the pod it leads to."""

    traffic: Traffic
    source: Pod
    destination: Pod


def telling_pair(
    cluster: Cluster, traffics: Iterator[Traffic], ports: Mapping[PodKey, frozenset[Service]]
) -> Pair | None:
    """An allowed TCP connection to a declared port of a pod whose ingress no policy isolates, from one with other labels.

    None when the scene has no such pair; then there is nothing that a policy's coming and going would show.
    """
    for traffic in traffics:
        source, destination = traffic.source, traffic.destination
        if not isinstance(source, PodEnd) or not isinstance(destination, PodEnd):
            continue
        decision = judge(cluster, traffic)
        if (
            (Protocol.TCP, traffic.port) in ports.get((destination.pod.namespace, destination.pod.name), ())
            and traffic.protocol is Protocol.TCP
            and decision.verdict is Verdict.ALLOWED
            and decision.ingress.outcome is GateOutcome.NOT_ISOLATED
            and dict(source.pod.labels) != dict(destination.pod.labels)
            and source.pod.labels
        ):
            return Pair(traffic, source.pod, destination.pod)
    return None


class LiveChanges:
    """Makes the changes one after the other and times each."""

    def __init__(self, api: Api, installation: Installation, population: Population, prober: Prober) -> None:
        self._api = api
        self._installation = installation
        self._population = population
        self._prober = prober

    async def run(self, pair: Pair, cluster: Cluster) -> list[Change]:
        """Create, edit and delete a policy, create and delete a pod; the cluster is then as before."""
        namespace = pair.destination.namespace
        deny = _policy(pair, [])
        admit = {"spec": _policy(pair, [{"from": [_peer(pair.source)]}])["spec"]}
        guest = place(
            Cluster.of(
                cluster.namespaces.values(),
                [*cluster.pods, _guest(pair.source)],
                cluster.policies,
                cluster.nodes.values(),
            ),
            tuple(cluster.nodes),
        )
        newcomer = next(pod for pod in guest.pods if pod.name == GUEST)
        visit = traffic_between(
            guest,
            next(
                item
                for item in newcomer.addresses
                if item.version == pair.traffic.destination.address.version
            ),
            pair.traffic.destination.address,
            pair.traffic.protocol,
            pair.traffic.port,
        )
        direct, changes = pair.traffic, []

        async def create_policy() -> None:
            await self._api.create(deny)

        async def edit_policy() -> None:
            await self._api.patch("NetworkPolicy", namespace, POLICY, admit)

        async def create_pod() -> None:
            await self._population.report_running(newcomer)

        async def delete_pod() -> None:
            await self._api.delete("Pod", newcomer.namespace, GUEST)

        async def delete_policy() -> None:
            await self._api.delete("NetworkPolicy", namespace, POLICY)

        changes.append(await self._timed("policy created: isolates", direct, Verdict.DENIED, create_policy))
        changes.append(await self._timed("policy edited: admits", direct, Verdict.ALLOWED, edit_policy))
        await self._api.create(_document(newcomer))
        await self._population.start_network(newcomer)
        changes.append(await self._timed("pod created: admitted", visit, Verdict.ALLOWED, create_pod))
        changes.append(
            await self._timed("pod deleted: its address is nobody's", visit, Verdict.DENIED, delete_pod)
        )
        changes.append(await self._timed("policy deleted: open again", visit, Verdict.ALLOWED, delete_policy))
        await self._population.remove_pod(newcomer)
        await self._installation.in_force(await stored_cluster(self._api))
        return changes

    async def _timed(
        self, what: str, traffic: Traffic, expected: Verdict, change: Callable[[], Awaitable[None]]
    ) -> Change:
        """Probe the pair every few milliseconds while the change is made, and date its effects."""
        namespaces = self._population.namespaces
        async with AsyncExitStack() as stack:
            commits = [stack.enter_context(Commits(name)) for name in self._installation.node_namespaces()]
            watch = await stack.enter_async_context(self._prober.watch(probe_of(traffic, namespaces)))
            written = time.monotonic()
            await change()
            try:
                first = await watch.changed_to(OUTCOME[expected], since=written, within=WITHIN_SECONDS)
            except ProbeError:
                return Change(what, _shown(traffic), expected, None, None)
            committed = [moment for one in commits for moment in one.between(written, first.sent_at)]
            kernel_ms = (max(committed) - written) * 1000 if committed else None
            return Change(what, _shown(traffic), expected, kernel_ms, (first.sent_at - written) * 1000)


def _shown(traffic: Traffic) -> str:
    return f"{traffic.source} -> {traffic.destination} {traffic.service}"


def _policy(pair: Pair, rules: list[Json]) -> Json:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": pair.destination.namespace, "name": POLICY},
        "spec": {
            "podSelector": {"matchLabels": dict(pair.destination.labels)},
            "policyTypes": ["Ingress"],
            "ingress": rules,
        },
    }


def _peer(pod: Pod) -> Json:
    return {
        "namespaceSelector": {"matchLabels": {NAME_LABEL: pod.namespace}},
        "podSelector": {"matchLabels": dict(pod.labels)},
    }


def _guest(source: Pod) -> Pod:
    return replace(source, name=GUEST, uid=f"uid-{GUEST}", node=None, addresses=(), ports=())


def _document(pod: Pod) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": pod.namespace, "name": pod.name, "labels": dict(pod.labels)},
        "spec": {"nodeName": pod.node, "containers": [{"name": "demo", "image": "registry.example/demo:1"}]},
    }
