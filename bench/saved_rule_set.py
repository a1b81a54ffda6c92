"""`save`: what a node keeps on its disk, from the rule set to a file that outlives a loss of power, and back.

The rule set is that of a node with a hundred pods in a cluster of ten thousand. Where the file lies decides what a flush
costs: TMPDIR says where.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.clusters import cluster
from bench.measure import MILLISECONDS, Measured, high, median, repeated
from compilers.compile.compiler import Compiler
from policy_controller.enforcer.disk import StateDirectory, replace_file
from policy_controller.enforcer.saving import NAME
from policy_controller.wire.messages import SnapshotMessage, Stands
from policy_controller.wire.saved import decode_saved, encode_saved

PODS: Final = 10_000
NODE: Final = "node-0"
ROUNDS: Final = 15


def measure() -> Measured:
    """Medians, and for the write the value that 95 of 100 do not exceed."""
    rule_set = Compiler(cluster(PODS)).node(NODE)
    snapshot = SnapshotMessage(1, Stands(1, 1, 1), rule_set)
    content = encode_saved(snapshot)
    with TemporaryDirectory() as folder, StateDirectory(Path(folder) / "state").made() as disk:
        writes = repeated(lambda: replace_file(disk, NAME, content), ROUNDS)
    return Measured(
        "save",
        {
            "file_bytes": len(content),
            "addresses_in_the_legend": len(rule_set.legend),
            "make_ms": median(repeated(lambda: encode_saved(snapshot), ROUNDS), MILLISECONDS),
            "write_and_flush_ms": median(writes, MILLISECONDS),
            "write_and_flush_p95_ms": high(writes, MILLISECONDS),
            "read_and_check_ms": median(repeated(lambda: decode_saved(content, NODE), ROUNDS), MILLISECONDS),
        },
    )
