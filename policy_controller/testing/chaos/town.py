"""The town that chaos comes over: namespaces, pods and policies, each made and changed by chance, each change in the journal.

Knows the API's objects and the laboratory. Knows nothing of faults.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from compilers.model.cluster import Cluster
from compilers.model.selector import LabelSelector
from compilers.model.words import Address, Direction
from policy_controller.testing.chaos.journal import Journal
from policy_controller.testing.chaos.judge import LAG_SECONDS
from policy_controller.testing.chaos.knocking import Knocking, Leave, Settle
from policy_controller.testing.chaos.stations import Site
from policy_controller.testing.chaos.verdicts import Resident
from policy_controller.testing.generators import api_objects
from policy_controller.testing.generators.policies import random_policy
from policy_controller.testing.generators.vocabulary import NAMESPACE_LABELS, POD_LABELS, some_labels
from policy_controller.testing.installation.api import Api
from policy_controller.testing.laboratory import Laboratory, Pod

Json = dict[str, Any]

NAMESPACES: Final = ("shop", "ops", "yard")
POLICIES: Final = 7
"""How many policies there are, more or less."""
FIRST_HOST, LAST_HOST = 11, 150
"""Host numbers that pods get, round and round; the installation's own pods have the last ones of a node."""
BEACON: Final = "beacon"
BEACON_HOST: Final = 200
PORTS: Final = (("http", "UDP"), ("dns", "UDP"), ("metrics", "TCP"))
NUMBERS: Final = (53, 80, 443, 8080)
FIRST_UNASKED, UNASKED = 20_000, 10_000
"""Ports that nobody is asked for."""
ABSENT_SELECTOR: Final[Json] = {"matchLabels": dict.fromkeys(POD_LABELS), "matchExpressions": None}
"""For a merge patch: what was there goes."""


@dataclass(frozen=True, slots=True)
class Lodger:
    """A pod that lives: as it is probed, and as it was built."""

    resident: Resident
    built: Pod


class Town:
    """Everything that is not the installation's own."""

    def __init__(self, api: Api, laboratory: Laboratory, knocking: Knocking, journal: Journal) -> None:
        self._api, self._laboratory, self._knocking, self._journal = api, laboratory, knocking, journal
        self._hosts: dict[str, int] = {}
        self._asked = False
        """Whether pods are asked as soon as they run; at the beginning, when all are there."""
        self._pods_made = 0
        self._policies_made = 0
        self._beacons = self._touches = 0
        self.lodgers: dict[int, Lodger] = {}
        self.policies: dict[str, str] = {}
        """The namespace of each policy, by name."""

    @property
    def cluster(self) -> Cluster:
        """The latest state."""
        return self._journal.clusters[-1]

    async def found(self, rng: Random, pods: int) -> None:
        """Namespaces, policies and pods, and a beacon on every node."""
        async with self._journal.change():
            for name in NAMESPACES:
                metadata = {"name": name, "labels": some_labels(rng, NAMESPACE_LABELS)}
                await self._api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
            await self._found_beacons()
        nodes = list(self._laboratory.nodes)
        for number in range(pods):
            await self.add_pod(rng, NAMESPACES[number % len(NAMESPACES)], nodes[number // 2 % len(nodes)])
        for _ in range(POLICIES):
            await self.add_policy(rng)
        await asyncio.sleep(LAG_SECONDS)
        await self._knocking.tell(Settle(tuple(_site(lodger) for lodger in self.lodgers.values())))
        self._asked = True

    async def add_pod(
        self, rng: Random, namespace: str, node: str, addresses: tuple[Address, Address] | None = None
    ) -> Lodger:
        """A pod as a kubelet brings it up: bound, then with a network, then running."""
        built_on = self._laboratory.nodes[node]
        self._pods_made += 1
        number, name = self._pods_made, f"pod-{self._pods_made}"
        if addresses is None:
            host = self._next_host(node)
            addresses = (built_on.pods_ipv4[host], built_on.pods_ipv6[host])
        created = await self._api.create(_pod(namespace, name, node, _labels(rng), _ports(rng)))
        built = await asyncio.to_thread(self._laboratory.add_pod, built_on, f"{namespace}.{name}", addresses)
        resident = Resident(number, namespace, name, created["metadata"]["uid"], node, addresses)
        async with self._journal.change():
            await self._api.patch("Pod", namespace, name, {"status": running(addresses)}, "/status")
        lodger = Lodger(resident, built)
        self.lodgers[number] = lodger
        self._journal.residents.append(resident)
        if self._asked:
            # Whatever it saw before, nobody could say whether that was right.
            await self._knocking.tell(Settle((_site(lodger),), time.monotonic() + LAG_SECONDS))
        return lodger

    async def unlodge(self, lodger: Lodger) -> None:
        """The pod's network goes; its object stays."""
        del self.lodgers[lodger.resident.number]
        await self._knocking.tell(Leave((lodger.resident.number,)))
        await asyncio.to_thread(self._laboratory.remove_pod, lodger.built)

    async def delete_pod(self, lodger: Lodger) -> None:
        """The pod's object goes."""
        async with self._journal.change():
            await self._api.delete("Pod", lodger.resident.namespace, lodger.resident.name)

    async def change_pod(self, lodger: Lodger, change: Json, part: str = "") -> None:
        """Merge a change into a pod."""
        async with self._journal.change():
            await self._api.patch("Pod", lodger.resident.namespace, lodger.resident.name, change, part)

    async def change_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Give a namespace these labels of the vocabulary and no other of it."""
        async with self._journal.change():
            change = {"metadata": {"labels": {**dict.fromkeys(NAMESPACE_LABELS), **labels}}}
            await self._api.patch("Namespace", "", name, change)

    async def add_policy(self, rng: Random) -> None:
        """One policy more, for a few pods of a namespace."""
        document = self._policy(rng, rng.choice(NAMESPACES), self.next_policy())
        await self.write_policy(document)

    async def replace_policy(self, rng: Random, name: str) -> None:
        """A policy says something else, and perhaps of others."""
        spec = self._policy(rng, self.policies[name], name)["spec"]
        selector = {**ABSENT_SELECTOR, **spec["podSelector"]}
        if "matchLabels" in spec["podSelector"]:
            selector["matchLabels"] = {**dict.fromkeys(POD_LABELS), **spec["podSelector"]["matchLabels"]}
        change = {"ingress": None, "egress": None, **spec, "podSelector": selector}
        async with self._journal.change():
            await self._api.patch("NetworkPolicy", self.policies[name], name, {"spec": change})

    async def touch_policy(self, rng: Random) -> None:
        """A policy admits another port more, which nobody is asked for: classes change, and no verdict that is probed."""
        name = rng.choice(sorted(self.policies))
        namespace = self.policies[name]
        self._touches += 1
        port = FIRST_UNASKED + self._touches % UNASKED
        (held,) = [
            one["spec"]
            for one in await self._api.list("NetworkPolicy")
            if one["metadata"]["namespace"] == namespace and one["metadata"]["name"] == name
        ]
        change = {
            direction.field: [
                *(rule for rule in held.get(direction.field) or () if not _is_touch(rule)),
                _touch(port),
            ]
            for direction in Direction
            if direction.value in held["policyTypes"]
        }
        async with self._journal.change():
            await self._api.patch("NetworkPolicy", namespace, name, {"spec": change})

    async def write_policy(self, document: Json) -> str:
        """Create a policy; its name."""
        namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
        async with self._journal.change():
            await self._api.create(document)
        self.policies[name] = namespace
        return str(name)

    async def remove_policy(self, name: str) -> None:
        """Delete a policy."""
        async with self._journal.change():
            await self._api.delete("NetworkPolicy", self.policies.pop(name), name)

    def next_policy(self) -> str:
        """A name that no policy has had."""
        self._policies_made += 1
        return f"policy-{self._policies_made}"

    def some_lodger(self, rng: Random) -> Lodger:
        """One of the pods."""
        return self.lodgers[rng.choice(sorted(self.lodgers))]

    async def light_beacons(self) -> None:
        """Change pods, namespaces and a policy in such a way that every node's rule set is another.

        A node has it only when each watch of the operator that serves it has come through.
        """
        self._beacons += 1
        labels = {"metadata": {"labels": {BEACON: str(self._beacons)}}}
        async with self._journal.change():
            for node in self._laboratory.nodes:
                await self._api.patch("Pod", BEACON, f"{BEACON}-{node}", labels)
            await self._api.patch("Namespace", "", BEACON, labels)
            await self._api.patch("NetworkPolicy", BEACON, BEACON, {"spec": _beacon_spec(self._beacons)})

    async def _found_beacons(self) -> None:
        await self._api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BEACON}})
        for node, built in self._laboratory.nodes.items():
            name = f"{BEACON}-{node}"
            await self._api.create(_pod(BEACON, name, node, {}, []))
            status = running((built.pods_ipv4[BEACON_HOST], built.pods_ipv6[BEACON_HOST]))
            await self._api.patch("Pod", BEACON, name, {"status": status}, "/status")
        await self._api.create(policy(BEACON, BEACON, _beacon_spec(0)))

    def _policy(self, rng: Random, namespace: str, name: str) -> Json:
        made = random_policy(
            rng, namespace, name, [one for one in self.cluster.pods if one.namespace in NAMESPACES]
        )
        if made.subject is not None:
            # Few pods each: a change is to turn few verdicts.
            made = replace(made, subject=LabelSelector((("app", rng.choice(POD_LABELS["app"])),)))
        (document,) = api_objects(Cluster.of(policies=[made]))
        del document["metadata"]["uid"]
        return document

    def _next_host(self, node: str) -> int:
        taken = {
            int(address) & 0xFF
            for lodger in self.lodgers.values()
            for address in lodger.resident.addresses[:1]
            if lodger.resident.node == node
        }
        host = self._hosts.get(node, FIRST_HOST - 1)
        while True:
            host = FIRST_HOST if host >= LAST_HOST else host + 1
            if host not in taken:
                self._hosts[node] = host
                return host


def _touch(port: int) -> Json:
    return {"ports": [{"port": port}]}


def _is_touch(rule: Json) -> bool:
    ports = rule.get("ports") or [{}]
    return (
        isinstance(ports[0].get("port"), int)
        and ports[0]["port"] >= FIRST_UNASKED
        and "endPort" not in ports[0]
    )


def _site(lodger: Lodger) -> Site:
    ipv4, ipv6 = lodger.resident.addresses
    return Site(lodger.resident.number, lodger.built.namespace, (str(ipv4), str(ipv6)))


def policy(namespace: str, name: str, spec: Json) -> Json:
    """A policy's document."""
    metadata = {"namespace": namespace, "name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def running(addresses: Sequence[Address]) -> Json:
    """The status of a pod that runs."""
    shown = [{"ip": str(address)} for address in addresses]
    return {"phase": "Running", "podIP": shown[0]["ip"], "podIPs": shown}


def _pod(namespace: str, name: str, node: str, labels: Mapping[str, str], ports: Sequence[Json]) -> Json:
    metadata = {"namespace": namespace, "name": name, "labels": dict(labels)}
    container = {"name": "main", "image": "registry.example/app:1", "ports": list(ports)}
    spec = {"nodeName": node, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _labels(rng: Random) -> dict[str, str]:
    return {"app": rng.choice(POD_LABELS["app"]), **some_labels(rng, POD_LABELS)}


def _ports(rng: Random) -> list[Json]:
    return [
        {"name": name, "protocol": protocol, "containerPort": rng.choice(NUMBERS)}
        for name, protocol in PORTS
        if rng.randrange(2)
    ]


def _beacon_spec(number: int) -> Json:
    selector = {"matchLabels": {BEACON: str(number)}}
    peer = {"namespaceSelector": selector, "podSelector": selector}
    rule = {"from": [peer], "ports": [{"port": 1 + number % 65535}]}
    return {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule]}
