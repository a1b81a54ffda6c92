"""`policyctl demo`: flags, the order of acts, and the exit code.

Knows how the parts of a demo follow each other. Each part is a module beside this one.
"""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Final

import click
import msgspec
from rich.console import Console

from policy_controller.cli.demo.changes import LiveChanges, telling_pair
from policy_controller.cli.demo.folder import own_folder
from policy_controller.cli.demo.matrix import check, connections
from policy_controller.cli.demo.report import Shown, as_tree, print_tables
from policy_controller.cli.demo.scene import Scene, scene
from policy_controller.cli.output import (
    printable,
    printable_lines,
    show_faults,
    show_skipped,
    standard_output,
)
from policy_controller.testing.examples import MOST_NODES, NODES, PlacementError, node_names
from policy_controller.testing.installation.api import Api, RefusedError
from policy_controller.testing.installation.installation import (
    Installation,
    InstallationError,
    stored_cluster,
    without_own_pods,
)
from policy_controller.testing.installation.population import Population
from policy_controller.testing.laboratory import Laboratory, LaboratoryError, NetworkKind
from policy_controller.testing.probe import ProbeError, Prober

FORMATS: Final = ("text", "json")


@click.command("demo")
@click.option(
    "--policies",
    "directory",
    type=click.Path(exists=True, file_okay=False),
    help="Your own YAML: its policies, and its pods and namespaces where it has any.",
)
@click.option(
    "--network",
    type=click.Choice([kind.value for kind in NetworkKind]),
    default=NetworkKind.BRIDGE.value,
    show_default=True,
    help="How pods connect: a bridge with host routes, a bridge over VXLAN, or routed links.",
)
@click.option("--nodes", type=click.IntRange(1, MOST_NODES), default=len(NODES), show_default=True)
@click.option("--keep", is_flag=True, help="Leave everything running until you press Ctrl-C.")
@click.option("-o", "--output", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
def demo_command(directory: str | None, network: str, nodes: int, keep: bool, output: str) -> None:
    """Run the whole of policy-controller on this machine and show with packets what it does.

    A development API server, the operator, nodes with an enforcer each and nine pods, all in network namespaces.
    Every pair and port is probed with real packets and compared with what the reference evaluator expects; then a policy
    and a pod come, change and go, and the time each takes to reach the kernel and the packets is shown. Needs root.

    The exit code is 1 when packets saw something else than expected.
    """
    if os.geteuid() != 0:
        raise click.ClickException("needs root: it makes network namespaces and loads nftables rule sets")
    try:
        shown = asyncio.run(_demo(Order(directory, NetworkKind(network), node_names(nodes), keep, output)))
    except (InstallationError, LaboratoryError, PlacementError, ProbeError, RefusedError) as error:
        raise click.ClickException(printable_lines(str(error))) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(130) from None
    raise SystemExit(0 if shown.holds else 1)


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    directory: str | None
    network: NetworkKind
    nodes: tuple[str, ...]
    keep: bool
    output: str


async def _demo(order: Order) -> Shown:
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Who starts a demo with nohup wants it to outlive the terminal.
        if this is not None and signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, this.cancel)
    started = time.monotonic()
    staged = scene(order.directory, order.nodes)
    show_faults(staged.faults)
    show_skipped(staged.skipped)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(own_folder())
        laboratory = stack.enter_context(Laboratory(network=order.network))
        prober = await stack.enter_async_context(Prober())
        installation = await stack.enter_async_context(Installation(laboratory, folder))
        _say(
            f"starting API server, operator and {_count(len(order.nodes), 'node', 'nodes')} on a {order.network.value} network"
        )
        api = await installation.start()
        population = Population(api, laboratory, prober, staged.ports)
        shown = await _acts(order, staged, api, installation, population, prober, laboratory)
        _print(shown, order.output)
        _say(
            f"{len(shown.checked)} connections checked, {len(shown.mismatches)} mismatches, "
            f"{time.monotonic() - started:.1f} s"
        )
        if order.keep:
            _tell_how_to_look(installation, population)
            # Ctrl-C is how this ends, so it is no failure.
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return shown


async def _acts(
    order: Order,
    staged: Scene,
    api: Api,
    installation: Installation,
    population: Population,
    prober: Prober,
    laboratory: Laboratory,
) -> Shown:
    for node in staged.cluster.nodes.values():
        await asyncio.to_thread(laboratory.add_node, node.name)
        await installation.add_node(node.name)
        population.add_node(node)
    await population.add_outside()
    for document in staged.objects:
        if document.get("kind") != "Pod":
            await api.create(document)
    await population.add_pods(staged.objects, staged.cluster)
    await installation.settled()
    cluster = await stored_cluster(api)
    policies = _count(len(cluster.policies), "policy compiles", "policies compile")
    _say(f"waiting until the kernels hold what {policies} to")
    await installation.in_force(cluster, seconds=60)
    cluster = without_own_pods(cluster)
    traffics = tuple(connections(cluster, staged.ports, population.far))
    _say(f"making {len(traffics)} connections")
    checked = await check(cluster, traffics, prober, population.namespaces, population.far)
    pair = telling_pair(cluster, iter(traffics), staged.ports)
    if pair is None:
        _say("no pod is open to another that could show a policy's coming and going: no live changes")
        return Shown(order.network, order.nodes, checked, ())
    _say("making changes")
    changes = await LiveChanges(api, installation, population, prober).run(pair, cluster)
    return Shown(order.network, order.nodes, checked, changes)


def _print(shown: Shown, output: str) -> None:
    with standard_output():
        if output == "json":
            click.echo(msgspec.json.format(msgspec.json.encode(as_tree(shown)), indent=2))
        else:
            print_tables(Console(highlight=False), shown)


def _tell_how_to_look(installation: Installation, population: Population) -> None:
    _say(f"kubeconfig: {installation.kubeconfig}")
    for pod, namespace in population.shells().items():
        _say(f"shell in {pod}: ip netns exec {namespace} sh")
    for namespace in installation.node_namespaces():
        _say(f"rule set of a node: ip netns exec {namespace} nft list ruleset")
    _say("Ctrl-C ends it all")


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _say(sentence: str) -> None:
    click.echo(printable(sentence), err=True)
