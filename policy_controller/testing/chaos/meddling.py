"""Faults on a node's kernel: somebody changes our tables, others reload theirs, br_netfilter is switched off.

A table by kind. What somebody opened stays open until it is mended, for a second at most: that is a window of the node's pairs.
"""

import asyncio
import time
from collections.abc import Mapping
from random import Random
from typing import Final

from policy_controller.testing.chaos.judge import LAG_SECONDS, Scope
from policy_controller.testing.chaos.outages import Done
from policy_controller.testing.chaos.plan import Kind
from policy_controller.testing.chaos.scene import NO_TABLES, OURS, Scene
from policy_controller.testing.laboratory.netns import write_settings

GRACE_SECONDS: Final = 0.03
"""A packet that was sent so long after the kernel was whole again may have been judged before."""
ANSWER_SECONDS: Final = 0.3
"""An answer to what nobody judged comes within this."""
FOREIGN: Final = "inet chaos-foreign"
SETTINGS: Final = ("bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables")

HARM: Final[Mapping[Kind, str]] = {
    Kind.TABLE_DELETED: f"delete table {OURS}",
    Kind.TABLES_DELETED: NO_TABLES,
    Kind.RULES_FLUSHED: f"flush chain {OURS} forward",
    Kind.GATES_FLUSHED: f"flush map {OURS} ingress4; flush map {OURS} ingress6",
    Kind.RULE_INSERTED: f"insert rule {OURS} forward accept",
    Kind.ELEMENT_ADDED: f"add element {OURS} known4 {{ 203.0.113.77 }}",
}


def harming(kind: Kind) -> Done:
    """Somebody changes our tables on a node."""

    async def done(scene: Scene, rng: Random) -> None:
        node = scene.some_node(rng)
        begun = time.monotonic()
        await scene.nft(node, HARM[kind])
        await scene.in_force()
        # Whole since our last commit: to read that it is takes longer. A commit is seen late rather than early, by a busy machine.
        commits = scene.commits[node].between(begun, time.monotonic())
        mended = max(commits, default=begun + LAG_SECONDS)
        scene.journal.repairs.append(mended - begun)
        end = min(mended, begun + LAG_SECONDS)
        scene.journal.window(begun, end + GRACE_SECONDS, node, Scope.TOUCHING, kind.value)

    return done


async def reload_foreign(scene: Scene, rng: Random) -> None:
    """Another program writes its tables anew, as kube-proxy and Docker do."""
    node = scene.some_node(rng)
    chains = "".join(
        f"chain c{number} {{ ip saddr 192.0.2.{number} counter accept; }}; "
        for number in range(1, rng.randint(2, 40))
    )
    hook = "chain first { type filter hook forward priority -20; policy accept; counter; }; "
    await scene.nft(node, f"table {FOREIGN} {{ {hook}{chains}}}")
    await scene.nft(node, f"flush table {FOREIGN}; delete table {FOREIGN}; table {FOREIGN} {{ {hook} }}")
    await scene.nft(node, f"delete table {FOREIGN}")


async def switch_bridge_filter_off(scene: Scene, rng: Random) -> None:
    """The node's bridge does not hand packets to the IP hooks for a while."""
    node = scene.some_node(rng)

    def write(value: str) -> None:
        namespace = scene.laboratory.nodes[node].namespace
        scene.laboratory.run_in(namespace, lambda: write_settings(dict.fromkeys(SETTINGS, value)))

    begun = time.monotonic()
    await asyncio.to_thread(write, "0")
    await asyncio.sleep(rng.uniform(0.1, 0.5))
    await asyncio.to_thread(write, "1")
    end = time.monotonic() + ANSWER_SECONDS
    scene.journal.window(begun, end, node, Scope.WITHIN, Kind.BRIDGE_FILTER_OFF.value)


TABLE: Final[Mapping[Kind, Done]] = {
    **{kind: harming(kind) for kind in HARM},
    Kind.FOREIGN_RELOADED: reload_foreign,
    Kind.BRIDGE_FILTER_OFF: switch_bridge_filter_off,
}
