"""Writes the bytes that the present version of the protocol puts on the wire: wire/tests/wire_by_version/ tells what for.

Only before a version is first released: peers keep what they were made with. Knows the examples, whose rule sets are realistic.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from compilers.compile.compiler import Compiler
from compilers.model.settings import Enforcement, ExistingConnections
from compilers.ruleset.delta import difference
from compilers.ruleset.digest import digest_of
from compilers.ruleset.parts import PeerSet
from compilers.ruleset.rule_set import RuleSet
from policy_controller.testing.examples import load_example
from policy_controller.wire.convert import encode_node, encode_operator
from policy_controller.wire.messages import DeltaMessage, OperatorMessage, SnapshotMessage
from policy_controller.wire.tests.messages import OTHER_PEERS, V6, rule_set
from policy_controller.wire.tests.wire_by_version import (
    CONTENT,
    ENDED,
    FIRST,
    SAID_BY_NODES,
    STANDS,
    content_of,
    led_to,
)

EXAMPLES: Final = Path(__file__).parents[3] / "examples"
NODE: Final = "node-b"
GOLDEN: Final = (
    "three-tier",
    "named-ports",
    "external-cidr-except",
    "sctp",
    "every-address-of-one-family",
    "protocol-only",
    "additive-policies",
)
"""Examples whose rule sets of one node are kept; each but the first also as a delta from the one before."""


def said_by_operators() -> Mapping[str, OperatorMessage]:
    """Snapshots of the golden rule sets, a delta from each to the next, and one of either that has every part."""
    held = {name: Compiler(load_example(EXAMPLES / name).cluster).node(NODE) for name in GOLDEN}
    said: dict[str, OperatorMessage] = {
        f"snapshot-{name}": SnapshotMessage(1, STANDS, rules, ENDED) for name, rules in held.items()
    }
    for before, after in pairwise(GOLDEN):
        said[f"delta-{before}-to-{after}"] = _delta(held[before], held[after])
    every = rule_set(PeerSet(OTHER_PEERS, frozenset({V6})))
    said["snapshot-every-part"] = SnapshotMessage(1, STANDS, every)
    said["delta-every-part-to-changed"] = _delta(every, rule_set(PeerSet(OTHER_PEERS), number=81))
    settled = replace(STANDS, settings=77)
    cutting = {
        uid: replace(pod, existing=ExistingConnections.CUT) for uid, pod in held[GOLDEN[0]].pods.items()
    }
    said["snapshot-cut"] = SnapshotMessage(1, settled, replace(held[GOLDEN[0]], pods=cutting))
    said["snapshot-off"] = SnapshotMessage(1, settled, RuleSet.of(NODE, enforcement=Enforcement.OFF))
    return said


def main() -> None:
    """Write every file of the folder."""
    for old in FIRST.iterdir():
        old.unlink()
    said = said_by_operators()
    snapshots = {name: one.rule_set for name, one in said.items() if isinstance(one, SnapshotMessage)}
    content = {}
    for name, message in said.items():
        (FIRST / name).write_bytes(encode_operator(message).SerializeToString(deterministic=True))
        content[name] = content_of(message, led_to(message, name, snapshots))
    for name, reply in SAID_BY_NODES.items():
        (FIRST / name).write_bytes(encode_node(reply).SerializeToString(deterministic=True))
    (FIRST / CONTENT).write_text(json.dumps(content, indent=1) + "\n")


def _delta(before: RuleSet, after: RuleSet) -> DeltaMessage:
    return DeltaMessage(1, 2, STANDS, digest_of(after), difference(before, after), ENDED)


if __name__ == "__main__":
    main()
