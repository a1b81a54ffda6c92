"""What each version of the protocol puts on the wire, as bytes: peers of that version are still about, and say and read it.

Knows which messages are kept and what each says. The bytes of a version are written once, before it is first released, by
`python -m policy_controller.testing.tests.written_wire`; after that they are read and compared, and a new version adds a folder.
"""

from collections.abc import Mapping
from dataclasses import astuple
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from compilers.model.words import Address
from compilers.nftables.words import TableFamily
from compilers.ruleset.delta import apply
from compilers.ruleset.listing import Tree, as_tree
from compilers.ruleset.parts import address_order
from compilers.ruleset.rule_set import RuleSet
from policy_controller.wire.messages import (
    Ack,
    DeltaMessage,
    FreshToken,
    Hello,
    InForce,
    Nack,
    NackCause,
    NodeMessage,
    OperatorMessage,
    SnapshotMessage,
    Stands,
    Tampered,
)

FIRST: Final = Path(__file__).parent / "version-1"
CONTENT: Final = "content.json"
"""Beside the bytes: what the snapshots and deltas among them say, as trees."""

STANDS: Final = Stands(pods=81_245, namespaces=1_204, policies=(1 << 64) - 1)
ENDED: Final[frozenset[Address]] = frozenset(map(ip_address, ("10.1.0.7", "fd00:10:1::7")))
DIGEST: Final = 0x0123456789ABCDEF0123456789ABCDEF

SAID_BY_NODES: Final[Mapping[str, NodeMessage]] = {
    "hello-first": Hello("node-b"),
    "hello-in-force": Hello("node-b.example", InForce(7, DIGEST, STANDS), ("packed-addresses", "staged")),
    "ack": Ack(7, DIGEST),
    **{
        f"nack-{cause.value}": Nack(8, cause, "classes[0].rules[1].peer", "is missing", 7)
        for cause in NackCause
    },
    "tampered": Tampered("nft", 40_211, tuple(TableFamily), 3, 1_764_000_000),
    "fresh-token": FreshToken("eyJhbGciOiJub25lIn0.eyJzdWIiOiJub2RlLWIifQ.c2lnbmF0dXJl"),
}
"""Nodes say little, so what it says stands here."""


def content_of(message: OperatorMessage, leads_to: RuleSet) -> Tree:
    """What a message says, and the rule set that it leads to, as a tree."""
    return {
        "generation": message.generation,
        "base": message.base_generation if isinstance(message, DeltaMessage) else None,
        "stands": list(astuple(message.stands)),
        "ended": [str(address) for address in sorted(message.ended, key=address_order)],
        "enforcement": leads_to.enforcement.value,
        "leadsTo": as_tree(leads_to),
    }


def led_to(message: OperatorMessage, name: str, snapshots: Mapping[str, RuleSet]) -> RuleSet:
    """The rule set that a message of this name leads to; a delta begins at the snapshot that its name begins with."""
    if isinstance(message, SnapshotMessage):
        return message.rule_set
    return apply(message.delta, snapshots[f"snapshot-{name.removeprefix('delta-').partition('-to-')[0]}"])
