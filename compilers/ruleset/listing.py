"""A rule set as a plain tree, the same for the same rule set: for JSON output, for people and for comparing.

Knows the parts of a rule set. Knows nothing of encoding: whoever writes the tree decides that.
"""

from collections.abc import Mapping
from typing import Final

from compilers.model.settings import ExistingConnections
from compilers.ruleset.parts import (
    ClassRule,
    PodEntry,
    PolicyClass,
    PortSpan,
    address_order,
    port_element_order,
)
from compilers.ruleset.rule_set import RuleSet

SCHEMA: Final = "ruleset/v1"

Tree = Mapping[str, object]


def as_tree(rule_set: RuleSet) -> Tree:
    """The rule set as mappings, lists and strings; keys and lists are in canonical order."""
    return {
        "schema": SCHEMA,
        "node": rule_set.node,
        "pods": [_pod(pod) for pod in rule_set.pods.values()],
        "classes": [_class(policy_class) for policy_class in rule_set.classes.values()],
        "peerSets": [
            {
                "name": part.name,
                "addresses": [str(item) for item in sorted(part.addresses, key=address_order)],
            }
            for part in rule_set.peer_sets.values()
        ],
        "portSets": [
            {
                "name": part.name,
                "elements": [
                    {"address": str(address), "protocol": protocol.value, "port": number}
                    for address, protocol, number in sorted(part.elements, key=port_element_order)
                ],
            }
            for part in rule_set.port_sets.values()
        ],
        "blockSets": [
            {"name": part.name, "family": part.family.value, "ranges": [f"{a}-{b}" for a, b in part.texts()]}
            for part in rule_set.block_sets.values()
        ],
        "legend": [
            {
                "address": str(address),
                "namespace": entry.namespace,
                "pod": entry.pod,
                "uid": entry.uid,
                **(
                    {"workload": f"{entry.workload_kind}/{entry.workload_name}"}
                    if entry.workload_kind
                    else {}
                ),
            }
            for address, entry in rule_set.legend.items()
        ],
    }


def _pod(pod: PodEntry) -> Tree:
    return {
        "uid": pod.uid,
        "namespace": pod.namespace,
        "name": pod.name,
        "addresses": [str(address) for address in pod.addresses],
        "ingress": pod.ingress,
        "egress": pod.egress,
        **({} if pod.existing is ExistingConnections.KEEP else {"existingConnections": pod.existing.value}),
    }


def _class(policy_class: PolicyClass) -> Tree:
    return {
        "name": policy_class.name,
        "direction": policy_class.direction.value,
        "policies": [f"{policy.namespace}/{policy.name}" for policy in policy_class.policies],
        "rules": [_rule(rule) for rule in policy_class.rules],
    }


def _rule(rule: ClassRule) -> Tree:
    ports: object = rule.ports
    if isinstance(rule.ports, PortSpan):
        span = {"first": rule.ports.first, "last": rule.ports.last}
        ports = {"protocol": rule.ports.protocol.value, **({} if rule.ports.covers_all else span)}
    origin = rule.origin
    return {
        "peer": rule.peer,
        "ports": ports,
        "origin": f"{origin.namespace}/{origin.policy}[{origin.index}]",
    }
