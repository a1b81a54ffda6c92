"""A file of each version of the saved rule set, as an enforcer of that version wrote it: nodes may hold one, and it must be read.

The files are never written anew; a new version adds one.
"""

from pathlib import Path
from typing import Final

from compilers.ruleset.parts import PeerSet
from policy_controller.wire.messages import SnapshotMessage
from policy_controller.wire.tests.messages import OTHER_PEERS, STANDS, rule_set

FIRST: Final = Path(__file__).parent / "version-1"
FIRST_HOLDS: Final = SnapshotMessage(1, STANDS, rule_set(PeerSet(OTHER_PEERS)))
