"""`policyctl enforcement`: what holds in the whole cluster and on each node, and the switch itself.

Writes the ConfigMap and asks a running operator until its nodes have what was written. Judges nothing else.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import click

from compilers.model.settings import CONFIG_MAP, Enforcement
from policy_controller.cli.output import printable, printable_lines, standard_output
from policy_controller.cli.reach.admin import Ask, conversation
from policy_controller.cli.reach.flags import reaches_the_operator
from policy_controller.cli.reach.settings import choose
from policy_controller.cli.reach.way import NotReached, Way
from policy_controller.cli.status_document import Node, Status, Unreadable, read_status
from policy_controller.cli.wait_command import Duration

PAUSE_SECONDS: Final = 0.2
SETTLED_SECONDS: Final = 3.0
"""Nodes that connect no more for so long are taken for all that will: after a start of the operator they come one by one."""
AGAIN_SECONDS: Final = 1.0
"""Before an operator that is not reached is looked for again."""
NO_POLICY: Final = "namespace="
"""Asks about policies of no namespace: there may be thousands, and only nodes are looked at here."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last that the operator said; `done`: every connected node has what was chosen."""

    status: Status
    chosen: Enforcement | None = None

    @property
    def wanted(self) -> str:
        """What nodes should have."""
        return self.status.settings.enforcement if self.chosen is None else self.chosen.value

    @property
    def done(self) -> bool:
        """Whether the operator knows of it, and every node that is connected has it in force."""
        known = self.status.settings.enforcement == self.wanted
        unlisted = self.status.node_count > len(self.status.nodes)
        # Where more are not current than are listed, nobody can tell of the others.
        listed = not unlisted or any(node.connected and node.current for node in self.status.nodes)
        return known and listed and all(self.has(node) for node in self.status.nodes if node.connected)

    @property
    def everywhere(self) -> bool:
        """The same, and there is no node that is not connected."""
        return self.done and all(node.connected for node in self.status.nodes)

    @property
    def connected(self) -> frozenset[str]:
        """Names of the listed nodes that are connected."""
        return frozenset(node.name for node in self.status.nodes if node.connected)

    def has(self, node: Node) -> bool:
        """Whether a node is known to have it in force."""
        return node.connected and node.enforcement == self.wanted


@click.command("enforcement")
@click.argument("state", required=False, type=click.Choice([one.value for one in Enforcement]))
@click.option(
    "--timeout",
    type=Duration(),
    default="30s",
    show_default=True,
    help="How long to wait for nodes; 0: look once.",
)
@reaches_the_operator
def enforcement_command(way: Way, url: str | None, state: str | None, timeout: float) -> None:
    r"""Show whether policies are enforced, or switch that for the whole cluster: `enforced` or `off`.

    With `off` no pod of the cluster is isolated, whatever policies say; nothing is restarted, and connections go on. A
    switch is a key of the ConfigMap policy-controller beside the operator: writing it takes the permissions to patch and
    to create configmaps there. Then the running operator is asked, as `policyctl status` does, until every connected node
    has it.

    The exit code is 1 when the switch was not written or no operator is reached, and 2 when a node is not known to have
    what it should: one that is not connected keeps what it had.

    \b
    Examples:
      policyctl enforcement
      policyctl enforcement off
      policyctl enforcement enforced --timeout 1m
    """
    chosen = None if state is None else Enforcement(state)
    try:
        if chosen is not None:
            asyncio.run(choose(way, chosen))
            click.echo(f"ConfigMap {way.namespace}/{CONFIG_MAP} says enforcement: {chosen.value}")
        seen = asyncio.run(_looked(chosen, timeout, url=url, way=way))
    except NotReached as fault:
        raise click.ClickException(printable_lines(str(fault))) from None
    with standard_output():
        for line in _lines(seen):
            click.echo(printable(line))
    if not seen.everywhere:
        raise SystemExit(2)


async def _looked(chosen: Enforcement | None, seconds: float, *, url: str | None, way: Way) -> Seen:
    """The last that the operator said: once where nothing was chosen. Raises NotReached."""
    last: Seen | None = None
    loop = asyncio.get_running_loop()
    until = loop.time() + (seconds if chosen is not None else 0.0)

    async def talk(ask: Ask) -> Seen:
        nonlocal last
        connected, since = frozenset[str](), loop.time()
        while True:
            try:
                last = Seen(read_status(await ask(f"/status?{NO_POLICY}")), chosen)
            except Unreadable as fault:
                raise NotReached(str(fault)) from fault
            now = loop.time()
            if last.connected != connected:
                connected, since = last.connected, now
            settled = now - since >= SETTLED_SECONDS
            left = until - now
            if chosen is None or last.everywhere or (last.done and settled) or left <= 0:
                return last
            await asyncio.sleep(min(PAUSE_SECONDS, left))

    while True:
        try:
            return await conversation(talk, url=url, way=way)
        except NotReached:
            left = until - loop.time()
            if left <= 0:
                if last is None:
                    raise
                return last
        await asyncio.sleep(min(AGAIN_SECONDS, left))


def _lines(seen: Seen) -> Iterator[str]:
    status = seen.status
    for warning in status.warnings:
        yield f"warning: {warning}"
    listed = len(status.nodes)
    having = sum(map(seen.has, status.nodes))
    counted = f"{having} of {listed} nodes"
    if listed < status.node_count:
        counted = f"{having} of the {listed} nodes listed, of {status.node_count},"
    yield f"enforcement is {status.settings.enforcement}; {counted} have {seen.wanted} in force"
    if seen.wanted != status.settings.enforcement:
        yield f"the operator has not taken over {seen.wanted}"
    for node in status.nodes:
        if not node.connected:
            yield f"{node.name} is not connected to the operator that was asked: what it has in force is not known"
        elif not seen.has(node):
            yield f"{node.name} has {node.enforcement or 'not answered yet'}{_refusal(node)}"


def _refusal(node: Node) -> str:
    nack = node.last_nack
    return (
        f": generation {nack.generation} is refused, {nack.object}: {nack.reason}" if nack is not None else ""
    )
