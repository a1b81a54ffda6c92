"""`policyctl compile`: a node's rule set from YAML files, as nft text or as JSON.

Reads files and prints. Knows nothing of a cluster's API and touches no kernel.
"""

import enum

import click
import msgspec

import nft_templates
from compilers.compile import Compiler
from compilers.nftables.base import BaseSettings, base_tables
from compilers.nftables.render import render
from compilers.nftables.words import InvalidNftError
from compilers.nftables.writer import write
from compilers.ruleset.listing import as_tree
from compilers.ruleset.rule_set import RuleSet
from policy_controller.cli.output import printable, show_faults, show_skipped, standard_output
from policy_controller.cli.sources import PathType, read_cluster
from policy_controller.testing.examples import NODES, PlacementError, place


class Output(enum.Enum):
    """How the rule set is shown."""

    NFT = "nft"
    JSON = "json"


@click.command("compile")
@click.argument("paths", nargs=-1, required=True, type=PathType(), metavar="PATH...")
@click.option("--node", required=True, help="The node whose rule set is wanted (spec.nodeName of its pods).")
@click.option(
    "-o",
    "--output",
    type=click.Choice([output.value for output in Output]),
    default=Output.NFT.value,
    show_default=True,
    help="nft: the tables as `nft -f` loads them; json: the rule set before it is rendered.",
)
@click.option("-n", "--namespace", default="default", show_default=True, help="For objects that name none.")
@click.option(
    "--pod-interfaces",
    default=",".join(BaseSettings().pod_interfaces),
    show_default=True,
    help="Interfaces on which the node meets its pods; a trailing * stands for any end.",
)
@click.option(
    "--place",
    "placement",
    is_flag=True,
    help=f"Give pods that have none a node ({', '.join(NODES)} in turn) and addresses.",
)
def compile_command(
    paths: tuple[str, ...], node: str, output: str, namespace: str, pod_interfaces: str, placement: bool
) -> None:
    r"""Print the rule set of one node, compiled from Namespaces, Pods and NetworkPolicies in files.

    The same input gives the same bytes. A policy that cannot be read is reported and closes the pods it selects; the
    exit code is then 2.

    \b
    Examples:
      policyctl compile cluster.yaml --node worker-1 | nft -c -f -
      policyctl compile examples/three-tier --place --node node-a
      kubectl get ns,pods,netpol -A -o yaml | policyctl compile - --node worker-1 -o json
    """
    parsed, faults = read_cluster(paths, namespace)
    show_faults(faults, parsed.warnings)
    show_skipped(parsed.skipped)
    cluster = parsed.cluster
    if placement:
        try:
            cluster = place(cluster)
        except PlacementError as error:
            raise click.ClickException(printable(str(error))) from None
    if node not in cluster.nodes and not any(pod.node == node for pod in cluster.pods):
        click.echo(f"warning: no pod of the input runs on node {printable(node)}", err=True)
    rule_set = Compiler(cluster).node(node)
    text = _shown(rule_set, Output(output), pod_interfaces)
    with standard_output():
        click.echo(text, nl=False)
    if faults:
        raise SystemExit(2)


def _shown(rule_set: RuleSet, output: Output, pod_interfaces: str) -> str:
    if output is Output.JSON:
        return msgspec.json.format(msgspec.json.encode(as_tree(rule_set)), indent=2).decode() + "\n"
    try:
        settings = BaseSettings(tuple(pod_interfaces.split(",")))
    except InvalidNftError as fault:
        raise click.BadParameter(printable(str(fault)), param_hint="--pod-interfaces") from None
    base = base_tables(
        nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE), settings
    )
    return "".join(write(table) for table in render(rule_set, base).each())
