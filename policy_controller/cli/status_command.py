"""`policyctl status`: which nodes enforce what the operator says, and which policies are wrong.

Asks a running operator and prints. Judges nothing: the operator has.
"""

import enum
import json
from collections.abc import Iterator, Sequence
from typing import Final

import click

from policy_controller.cli.output import printable, printable_lines, standard_output
from policy_controller.cli.reach.admin import ask
from policy_controller.cli.reach.way import ADMIN_PORT, NotReached, Way
from policy_controller.cli.status_document import Node, Policy, Status, Unreadable, read_status


class Output(enum.Enum):
    """How the status is shown."""

    TEXT = "text"
    JSON = "json"


TITLES: Final = ("node", "connected", "current", "desired", "acked", "nacks", "last nack")


@click.command("status")
@click.option(
    "-n",
    "--namespace",
    default="policy-controller",
    show_default=True,
    help="Where the operator runs.",
)
@click.option("--context", help="A context of the kubeconfig; without it the current one.")
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False),
    help="Credentials; without it $KUBECONFIG or ~/.kube/config.",
)
@click.option(
    "--admin-port",
    default=ADMIN_PORT,
    show_default=True,
    type=click.IntRange(1, 65535),
    help="The port of the operator's setting `admin`.",
)
@click.option(
    "--admin",
    "url",
    metavar="URL",
    help="http://127.0.0.1:PORT of an admin interface that is reached without a cluster.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice([output.value for output in Output]),
    default=Output.TEXT.value,
    show_default=True,
    help="json: the operator's document, schema status/v1.",
)
def status_command(
    namespace: str,
    context: str | None,
    kubeconfig: str | None,
    admin_port: int,
    url: str | None,
    output: str,
) -> None:
    r"""Show which nodes enforce the cluster's policies, and which policies are wrong.

    Asks the running operator, through a port-forward of the API server into its pod: that takes the permissions to list
    pods in its namespace, and to get and create pods/portforward there.

    The exit code is 1 when no operator is reached, and 2 when a node does not enforce the operator's last word or a
    policy has faults.

    \b
    Examples:
      policyctl status
      policyctl status --context staging -o json | jq '.nodes[] | select(.current | not)'
    """
    way = Way(namespace, admin_port, kubeconfig, context)
    try:
        body = ask("/status", url=url, way=way)
        status = read_status(body)
    except (NotReached, Unreadable) as fault:
        raise click.ClickException(printable_lines(str(fault))) from None
    with standard_output():
        if Output(output) is Output.JSON:
            # JSON may hold any character as it is, also those above 127 that some terminals obey.
            click.echo(json.dumps(json.loads(body)))
        else:
            for line in _lines(status):
                click.echo(printable(line))
    if not status.well:
        raise SystemExit(2)


def _lines(status: Status) -> Iterator[str]:
    yield from _sentences(status)
    if status.nodes:
        yield from _columns([TITLES, *map(_node, status.nodes)])
    for policy in status.policies:
        yield from _policy(policy)
    unshown = status.policy_count - len(status.policies)
    if unshown > 0:
        yield f"and {unshown} policies more with faults"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(printable(row[column])) for row in rows) for column in range(len(TITLES))]
    for row in rows:
        yield "  ".join(
            printable(text).ljust(width) for text, width in zip(row, widths, strict=True)
        ).rstrip()


def _sentences(status: Status) -> Iterator[str]:
    for reason in status.not_ready:
        yield f"not ready: {reason}"
    for warning in status.warnings:
        yield f"warning: {warning}"
    current = sum(node.connected and node.current for node in status.nodes)
    yield f"{current} of {len(status.nodes)} nodes enforce the operator's last word; {_counted(status.policy_count)}"


def _counted(policies: int) -> str:
    if policies == 0:
        return "no policy has faults"
    return "1 policy has faults" if policies == 1 else f"{policies} policies have faults"


def _node(node: Node) -> tuple[str, ...]:
    if not node.connected:
        return (node.name, "no", "-", "-", "-", "-", "")
    nack = node.last_nack
    return (
        node.name,
        "yes",
        "yes" if node.current else "no",
        str(node.generation_desired),
        str(node.generation_acked),
        str(node.nacks),
        "" if nack is None else f"generation {nack.generation} ({nack.cause}): {nack.object}: {nack.reason}",
    )


def _policy(policy: Policy) -> Iterator[str]:
    yield f"{policy.namespace}/{policy.name}"
    for fault in policy.faults:
        yield f"  {fault.field}: {fault.reason}" if fault.field else f"  {fault.reason}"
    unshown = policy.fault_count - len(policy.faults)
    if unshown > 0:
        yield f"  and {unshown} faults more"
    if policy.consequence:
        yield f"  {policy.consequence}"
