"""What tables that were found tell of the pods of an earlier enforcer, whose memory is gone.

Knows known addresses and gates. A gate leads to its pod's own chain, which is named by the pod's uid: so one address
with two chains is one of two pods. Knows nothing of rule sets, nor of pods of other nodes: tables do not name them.
"""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from compilers.model.words import Address, Family
from compilers.nftables.plan import KNOWN
from compilers.nftables.render import GATE_MAP, Tables, with_slots
from policy_controller.enforcer.comparison import differences

GATES: Final = frozenset(f"{gate}{family.value}" for gate in GATE_MAP.values() for family in Family)


def has_pods(tables: Tables) -> bool:
    """Whether some address has a gate or is known as a pod's."""
    gates = (one.elements for one in tables.inet.maps if one.declaration.name in GATES)
    return bool(_known(tables)) or any(gates)


def same_gates(found: Tables, kept: Tables) -> bool:
    """Whether the tables that were found are those of a rule set, but for unknown addresses and the door for frames.

    Those follow from what an enforcer knows, and from the rest; so does what `found` may have lost of them.
    """
    closed, desired = with_slots(found, {}), with_slots(kept, {})
    return not differences(replace(closed, bridge=desired.bridge), desired)


def ended_since(found: Tables, now: Tables) -> frozenset[Address]:
    """Addresses of the node's pods in `found` that are no pod's of the node in `now`, or another's.

    A pod without a gate in the same direction in both cannot be told from a later one with its address.
    """
    gates = {one.declaration.name: one.elements for one in now.inet.maps}
    moved = frozenset(
        key
        for one in found.inet.maps
        if one.declaration.name in GATES
        for key, verdict in one.elements.items()
        if isinstance(key, IPv4Address | IPv6Address)
        and gates[one.declaration.name].get(key, verdict) != verdict
    )
    return moved | (_known(found) - _known(now))


def _known(tables: Tables) -> frozenset[Address]:
    return frozenset(
        element
        for one in tables.inet.sets
        if one.declaration.name in KNOWN
        for element in one.elements
        if isinstance(element, IPv4Address | IPv6Address)
    )
