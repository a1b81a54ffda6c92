"""Whose an address is, and which addresses have ceased to be those of the pods they belonged to.

Knows addresses and uids of two states. Knows nothing of connections, and nothing of what policies admit: an address
that leaves a peer set or loses its gates, while the pod that has it is the same, has not ended.
"""

from collections.abc import Mapping

from compilers.model.cluster import Cluster
from compilers.model.words import Address
from compilers.ruleset.rule_set import RuleSet

Owners = Mapping[Address, str]
"""The uid of the pod that each pod address belongs to."""


def owners_of(cluster: Cluster) -> Owners:
    """The owners of every pod address of a cluster state."""
    return {address: pod.uid for address, pod in cluster.owners.items()}


def ended(old: Owners, new: Owners) -> frozenset[Address]:
    """Addresses that belonged to a pod in `old` and belong to another, or to none, in `new`."""
    return frozenset(address for address, uid in old.items() if new.get(address) != uid)


def ended_between(old: RuleSet, new: RuleSet) -> frozenset[Address]:
    """What two rule sets of one node tell of it by themselves: less than two cluster states do.

    The addresses of the node's own pods are told of completely. Of other pods only what both legends name: an address
    that is in the old one alone may have left a peer set and still be the same pod's.
    """
    now = {address: entry.uid for address, entry in new.legend.items()} | _own(new)
    elsewhere = {address: entry.uid for address, entry in old.legend.items() if address in now}
    return ended(elsewhere | _own(old), now)


def _own(rule_set: RuleSet) -> dict[Address, str]:
    return {address: pod.uid for pod in rule_set.pods.values() for address in pod.addresses}
