"""Golden rule sets: what a node's kernel should hold for telling clusters, as text that is read in reviews.

A change of the compiler, the renderer or the templates shows here as a change of nft text. Write the files anew, and
read the difference, with `python -m policy_controller.testing.agreement.tests.golden`; no test ever writes them.
"""

from pathlib import Path
from typing import Final

from compilers.compile.compiler import compile_nodes
from compilers.nftables.render import Tables, render
from compilers.nftables.writer import write
from policy_controller.testing.agreement.tests.scene import BASE, EXAMPLES
from policy_controller.testing.examples import load_example

DIRECTORY: Final = Path(__file__).parent

NODE_OF: Final = {
    "additive-policies": "node-b",
    "allow-all": "node-b",
    "and-versus-or": "node-b",
    "deny-all": "node-a",
    "dns-only-egress": "node-a",
    "egress-only-to-database": "node-a",
    "every-address-of-one-family": "node-b",
    "external-cidr-except": "node-a",
    "host-network-monitoring": "node-b",
    "metrics-scraping": "node-a",
    "named-ports": "node-b",
    "port-range": "node-b",
    "protocol-only": "node-b",
    "sctp": "node-a",
    "three-tier": "node-b",
}
"""The example, and the node whose tables are kept; one of them isolates nobody."""


def path_of(example: str) -> Path:
    """Where the text of an example is kept."""
    return DIRECTORY / f"{example}.{NODE_OF[example]}.nft"


def tables_of(example: str) -> Tables:
    """What the node should hold, compiled and rendered now."""
    return render(compile_nodes(load_example(EXAMPLES / example).cluster)[NODE_OF[example]], BASE)


def text_of(tables: Tables) -> str:
    """Both tables as `nft -f` loads them."""
    return "".join(write(table) for table in tables.each())
