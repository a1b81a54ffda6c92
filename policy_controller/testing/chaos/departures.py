"""Faults and changes of objects: pods that leave in bad ways, policies and names nobody should write, and the usual churn.

A table by kind. Each write is a change in the journal, so what may be seen of it follows from the objects.
"""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from policy_controller.testing.chaos.outages import Done
from policy_controller.testing.chaos.plan import Kind
from policy_controller.testing.chaos.scene import Scene
from policy_controller.testing.chaos.town import NAMESPACES, POLICIES, policy
from policy_controller.testing.generators.vocabulary import NAMESPACE_LABELS, POD_LABELS, some_labels
from policy_controller.testing.hostile.words import SYNTAX

Json = dict[str, Any]

LINGER_SECONDS: Final = 0.8
"""For how long a pod goes on running that has left the API."""
STAYS_SECONDS: Final = 0.3
FEWEST_POLICIES: Final = POLICIES - 2
WORDS: Final = tuple(word for word in SYNTAX.values() if word.isascii() and len(word) < 200)
MALFORMED: Final[tuple[Json, ...]] = (
    {"ingress": [{"from": [{}]}]},
    {"ingress": [{"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}]},
    {"ingress": [{"ports": [{"port": "-"}]}]},
    {"policyTypes": ["Egress"], "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/40"}}]}]},
    {"policyTypes": ["Egress"], "egress": "all"},
)
"""Beside a podSelector."""


async def leave_by_force(scene: Scene, rng: Random) -> None:
    """A pod's object goes at once, and the pod runs on for a while; another takes its place later."""
    lodger = scene.town.some_lodger(rng)
    await scene.town.delete_pod(lodger)
    await asyncio.sleep(LINGER_SECONDS)
    await scene.town.unlodge(lodger)
    await scene.town.add_pod(rng, lodger.resident.namespace, lodger.resident.node)


async def reuse_address(scene: Scene, rng: Random) -> None:
    """A pod goes, and a pod of another namespace has its addresses at once."""
    lodger = scene.town.some_lodger(rng)
    others = [name for name in NAMESPACES if name != lodger.resident.namespace]
    await scene.town.unlodge(lodger)
    await scene.town.delete_pod(lodger)
    await scene.town.add_pod(rng, rng.choice(others), lodger.resident.node, lodger.resident.addresses)


async def complete(scene: Scene, rng: Random) -> None:
    """A pod ends and keeps its object; a new pod has its addresses; then the object goes."""
    lodger = scene.town.some_lodger(rng)
    await scene.town.change_pod(lodger, {"status": {"phase": "Succeeded"}}, "/status")
    await asyncio.sleep(STAYS_SECONDS)
    await scene.town.unlodge(lodger)
    await scene.town.add_pod(rng, lodger.resident.namespace, lodger.resident.node, lodger.resident.addresses)
    await scene.town.delete_pod(lodger)


async def replace_pod(scene: Scene, rng: Random) -> None:
    """A pod goes as kubelets end one, and another comes."""
    lodger = scene.town.some_lodger(rng)
    await scene.town.unlodge(lodger)
    await scene.town.delete_pod(lodger)
    await scene.town.add_pod(rng, lodger.resident.namespace, scene.some_node(rng))


async def write_malformed(scene: Scene, rng: Random) -> None:
    """A policy that cannot be read comes, and goes."""
    await _come_and_go(scene, rng, rng.choice(MALFORMED))


async def write_hostile(scene: Scene, rng: Random) -> None:
    """Strings made to be taken for syntax, where an object has room for one."""
    word = rng.choice(WORDS)
    await scene.town.change_pod(scene.town.some_lodger(rng), {"metadata": {"annotations": {"hostile": word}}})
    peers = [{"podSelector": {"matchLabels": {"app": word}}}, {"podSelector": {"matchLabels": {word: "a"}}}]
    await _come_and_go(scene, rng, {"ingress": [{"from": peers}, {"ports": [{"port": word}]}]})


async def _come_and_go(scene: Scene, rng: Random, spec: Json) -> None:
    subject = {"podSelector": {"matchLabels": {"app": rng.choice(POD_LABELS["app"])}}}
    document = policy(
        rng.choice(NAMESPACES), scene.town.next_policy(), {"policyTypes": ["Ingress"], **subject, **spec}
    )
    name = await scene.town.write_policy(document)
    await asyncio.sleep(STAYS_SECONDS)
    await scene.town.remove_policy(name)


async def touch_policy(scene: Scene, rng: Random) -> None:
    """A policy says something else of a port that nobody is asked for."""
    await scene.town.touch_policy(rng)


async def replace_policy(scene: Scene, rng: Random) -> None:
    """A policy says something else."""
    await scene.town.replace_policy(rng, rng.choice(sorted(scene.town.policies)))


async def remove_policy(scene: Scene, rng: Random) -> None:
    """A policy goes, unless there are few."""
    if len(scene.town.policies) > FEWEST_POLICIES:
        await scene.town.remove_policy(rng.choice(sorted(scene.town.policies)))
    else:
        await scene.town.add_policy(rng)


async def add_policy(scene: Scene, rng: Random) -> None:
    """A policy comes."""
    await scene.town.add_policy(rng)


async def label_pod(scene: Scene, rng: Random) -> None:
    """A pod has other labels."""
    labels = {**dict.fromkeys(POD_LABELS), **some_labels(rng, POD_LABELS)}
    await scene.town.change_pod(scene.town.some_lodger(rng), {"metadata": {"labels": labels}})


async def label_namespace(scene: Scene, rng: Random) -> None:
    """A namespace has other labels."""
    await scene.town.change_namespace(rng.choice(NAMESPACES), some_labels(rng, NAMESPACE_LABELS))


TABLE: Final[Mapping[Kind, Done]] = {
    Kind.FORCE_DELETED: leave_by_force,
    Kind.ADDRESS_REUSED: reuse_address,
    Kind.POD_COMPLETES: complete,
    Kind.MALFORMED_POLICY: write_malformed,
    Kind.HOSTILE_NAMES: write_hostile,
    Kind.POLICY_TOUCHED: touch_policy,
    Kind.POLICY_REPLACED: replace_policy,
    Kind.POLICY_REMOVED: remove_policy,
    Kind.POLICY_ADDED: add_policy,
    Kind.POD_LABELLED: label_pod,
    Kind.NAMESPACE_LABELLED: label_namespace,
    Kind.POD_REPLACED: replace_pod,
}
