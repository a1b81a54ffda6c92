"""The largest there is: 2,000 rules, a selector over 100,000 pods, an object of a mebibyte. Other policies are on time beside them.

In memory: what reaches a kernel of it is tried with packets by testing/hostile.
"""

import time
from collections.abc import Iterator
from typing import Final

import pytest

from policy_controller.clock import SystemClock
from policy_controller.controller.kinds import Kind
from policy_controller.controller.tests import objects
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.agreement.tests.in_memory import InMemory
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.extent import Extent

pytestmark = pytest.mark.timeout(900)

NODE: Final = "node-0"
PODS_OF_A_NAMESPACE: Final = 100
MOST_ON_THE_NODE: Final = 100 * PODS_OF_A_NAMESPACE
MOST_SECONDS: Final = 60.0
"""How long a change may take that is compiled beside the largest there is."""
MEBIBYTE: Final = 1 << 20

SELECTS_ALL: Final = {
    "podSelector": {},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 80}]}],
}
RULES: Final = {
    "podSelector": {},
    "policyTypes": ["Egress"],
    "egress": [
        {"to": [{"podSelector": {"matchLabels": {"app": f"app-{n % 40}"}}}], "ports": [{"port": n + 1}]}
        for n in range(2_000)
    ],
}


def mebibyte(version: int) -> objects.Tree:
    """A policy whose object is as large as an API server stores."""
    tree = objects.policy("large", namespace="space-2", version=version)
    return {**tree, "metadata": {**tree["metadata"], "annotations": {"note": "x" * MEBIBYTE}}}


def pods(count: int) -> Iterator[objects.Tree]:
    """So many, a hundred a namespace; the first of each of a hundred namespaces is on the node."""
    for number in range(count):
        yield objects.pod(
            f"pod-{number}",
            namespace=f"space-{number // PODS_OF_A_NAMESPACE}",
            node=NODE if number % PODS_OF_A_NAMESPACE == 0 and number < MOST_ON_THE_NODE else "node-1",
            labels={"app": f"app-{number % 40}"},
            address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            version=2,
        )


async def taken(path: InMemory) -> float:
    """Seconds until the node has acknowledged what the store holds."""

    def done() -> bool:
        path.follow()
        return path.is_settled()

    began = time.monotonic()
    while not path.is_settled():
        try:
            await eventually(done)
        except TimeoutError:
            assert time.monotonic() - began < MOST_SECONDS
    return time.monotonic() - began


async def test_other_policies_are_on_time_beside_the_largest_there_is(
    extent: Extent, record_property: Record
) -> None:
    count = extent.choose(1_000, 100_000)
    async with InMemory(SystemClock(), [NODE]) as path:
        for number in range(-(-count // PODS_OF_A_NAMESPACE)):
            path.store.put(Kind.NAMESPACE, objects.namespace(f"space-{number}", version=1))
        for tree in pods(count):
            path.store.put(Kind.POD, tree)
        await taken(path)

        path.store.put(
            Kind.POLICY,
            objects.policy("witness", objects.allow_from({"app": "app-1"}), namespace="space-0", version=3),
        )
        usual = await taken(path)
        large = {
            "selects all": objects.policy("all", SELECTS_ALL, namespace="space-1", version=4),
            "2,000 rules": objects.policy("rules", RULES, namespace="space-1", version=5),
            "a mebibyte": mebibyte(6),
        }
        beside = 0.0
        for tree in large.values():
            path.store.put(Kind.POLICY, tree)
            beside = max(beside, await taken(path))
        path.store.put(
            Kind.POLICY,
            objects.policy("witness", objects.allow_from({"app": "app-2"}), namespace="space-0", version=7),
        )
        witness = await taken(path)
        assert path.has_converged()
        (follower,) = path.followers.values()
    record_property(f"ms a policy takes, {count} pods", 1_000 * usual)
    record_property(f"ms a policy takes beside the largest there is, {count} pods", 1_000 * witness)
    record_property(f"ms the largest take themselves, {count} pods", 1_000 * beside)
    record_property(f"bytes of the longest message, {count} pods", follower.longest)
    held = follower.session.in_force
    assert held is not None
    assert max(len(part.addresses) for part in held.rule_set.peer_sets.values()) == count
    assert max(len(part.rules) for part in held.rule_set.classes.values()) == len(RULES["egress"])
