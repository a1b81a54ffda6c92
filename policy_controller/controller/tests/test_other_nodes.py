"""Nodes that do not run Linux: nobody waits for them, they are counted apart, and their pods are peers."""

from typing import Final

from policy_controller.controller.enforced import Behind, Stage
from policy_controller.controller.kinds import Kind
from policy_controller.controller.tests.objects import allow_from, node, policy
from policy_controller.controller.tests.test_enforced import WEB, Site

WINDOWS: Final = {"kubernetes.io/os": "windows"}


def counted(site: Site) -> tuple[object, ...]:
    """Nodes, those that enforce the last word, those that can have no enforcer; and of the policy the last."""
    told = site.document()
    (of_policy,) = told["policies"]
    counts = (
        told["nodeCount"],
        told["currentCount"],
        told.get("otherNodeCount"),
        of_policy.get("otherNodes"),
    )
    assert len(told["nodes"]) == told["nodeCount"]
    return counts


def test_a_node_that_does_not_run_linux_is_not_waited_for_and_its_pods_are_peers() -> None:
    site = Site()
    site.put(Kind.NODE, node("node-1", labels={"kubernetes.io/os": "linux"}))
    site.put(Kind.NODE, node("node-2", labels=WINDOWS))
    site.put(Kind.POLICY, policy("web", WEB | allow_from({"app": "web"}) | WEB))
    (one,) = site.nodes("node-1")
    standing = site.standing()
    assert standing.stage is Stage.ENFORCED
    assert (standing.nodes, standing.enforced_on, standing.others) == (1, 1, 1)
    assert counted(site) == (1, 1, 1, 1)
    held = one.session.status().in_force
    assert held is not None
    (peers,) = held.rule_set.peer_sets.values()
    assert {str(address) for address in peers.addresses} == {"10.0.0.1", "10.0.0.2"}
    # Its label says another thing by now.
    site.put(Kind.NODE, node("node-2"))
    site.compile()
    assert site.standing().behind == (Behind("node-2", "is not connected"),)
    assert counted(site) == (2, 1, None, None)
    site.put(Kind.NODE, node("node-2", labels=WINDOWS))
    site.compile()
    assert counted(site) == (1, 1, 1, 1)
    # Whoever is connected has an enforcer.
    site.nodes("node-2")
    assert (site.standing().stage, site.standing().nodes) == (Stage.ENFORCED, 2)
    assert counted(site) == (2, 2, None, None)
