"""`policyctl status`: which nodes enforce what the operator says, and how far each policy has come.

Asks a running operator and prints. Judges nothing: the operator has.
"""

import enum
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

import click

from policy_controller.cli.output import printable, printable_lines, standard_output
from policy_controller.cli.reach.admin import ask
from policy_controller.cli.reach.flags import reaches_the_operator
from policy_controller.cli.reach.way import NotReached, Way
from policy_controller.cli.status_document import Node, Policy, Status, Unreadable, read_status


class Output(enum.Enum):
    """How the status is shown."""

    TEXT = "text"
    JSON = "json"


NODE_TITLES: Final = ("node", "connected", "current", "desired", "applied", "pods", "waiting", "last error")
POLICY_TITLES: Final = ("policy", "state", "nodes", "since", "behind")
AGES: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
STATES: Final = {
    "enforced": "{} enforced",
    "waiting": "{} waiting",
    "closed": "{} closed",
    "unused": "{} without pods",
}


@click.command("status")
@reaches_the_operator
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Only policies of it; may come again.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Policies of every namespace, as without a flag.")
@click.option(
    "-o",
    "--output",
    type=click.Choice([output.value for output in Output]),
    default=Output.TEXT.value,
    show_default=True,
    help="json: the operator's document, schema status/v1 (docs/schemas/status-v1.json).",
)
def status_command(
    way: Way, url: str | None, namespaces: Sequence[str], all_namespaces: bool, output: str
) -> None:
    r"""Show which nodes enforce the cluster's policies, and how far each policy has come.

    Asks the running operator, through a port-forward of the API server into its pod: that takes the permissions to list
    pods in its namespace, and to get and create pods/portforward there.

    The exit code is 1 when no operator is reached, and 2 when a node does not enforce the operator's last word or a
    policy has faults.

    \b
    Examples:
      policyctl status
      policyctl status -n shop
      policyctl status --context staging -o json | jq '.nodes[] | select(.current | not)'
    """
    if namespaces and all_namespaces:
        raise click.UsageError("--namespace and --all-namespaces exclude each other")
    query = urlencode([("namespace", namespace) for namespace in namespaces])
    try:
        body = ask(f"/status?{query}" if query else "/status", url=url, way=way)
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
        yield from _columns([NODE_TITLES, *(_node(node, status.at) for node in status.nodes)])
    yield from _unshown(status.node_count - len(status.nodes), "nodes")
    if status.policies:
        yield from _columns([POLICY_TITLES, *map(_policy, status.policies)])
    yield from _unshown(status.policy_count - len(status.policies), "policies")
    for policy in status.policies:
        if policy.fault_count:
            yield from _faults(policy)


def _unshown(count: int, what: str) -> Iterator[str]:
    if count > 0:
        yield f"and {count} {what} more"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(printable(row[column])) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(
            printable(text).ljust(width) for text, width in zip(row, widths, strict=True)
        ).rstrip()


def _sentences(status: Status) -> Iterator[str]:
    for reason in status.not_ready:
        yield f"not ready: {reason}"
    for warning in status.warnings:
        yield f"warning: {warning}"
    yield f"{status.current_count} of {status.node_count} nodes enforce the operator's last word"
    states = [words.format(status.states.get(state, 0)) for state, words in STATES.items()]
    one = "1 policy" if status.policy_count == 1 else f"{status.policy_count} policies"
    yield f"{one}: {', '.join(states)}; {status.faulty_count} with faults"


def _node(node: Node, now: datetime) -> tuple[str, ...]:
    if not node.connected:
        return (node.name, "no", "-", "-", "-", "-", "-", "")
    nack = node.last_nack
    return (
        node.name,
        f"yes{_age(node.connected_since, now)}",
        "yes" if node.current else "no",
        f"{node.generation_desired}{_age(node.desired_since, now)}",
        f"{node.generation_applied}{_age(node.applied_since, now)}",
        str(node.pods),
        str(node.pods_waiting),
        ""
        if nack is None
        else f"generation {nack.generation}{_age(nack.at, now)}, {nack.cause}: {nack.object}: {nack.reason}",
    )


def _age(since: datetime | None, now: datetime) -> str:
    """How long ago, by the operator's own clock, in the largest unit of which there is one."""
    if since is None:
        return ""
    seconds = max(0, int((now - since).total_seconds()))
    size, unit = next(((size, unit) for size, unit in AGES if seconds >= size), AGES[-1])
    return f" ({seconds // size}{unit} ago)"


def _policy(policy: Policy) -> tuple[str, ...]:
    since = "-" if policy.since is None else policy.since.strftime("%Y-%m-%dT%H:%M:%SZ")
    named = [f"{behind.node} {behind.reason}" for behind in policy.behind]
    more = policy.nodes - policy.enforced_on - len(named)
    behind = "; ".join([*named, *([f"and {more} more"] if more > 0 and named else [])])
    counted = f"{policy.enforced_on} of {policy.nodes}" if policy.state != "unused" else "no pods"
    return (f"{policy.namespace}/{policy.name}", policy.state, counted, since, behind)


def _faults(policy: Policy) -> Iterator[str]:
    yield f"{policy.namespace}/{policy.name}"
    for fault in policy.faults:
        yield f"  {fault.field}: {fault.reason}" if fault.field else f"  {fault.reason}"
    unshown = policy.fault_count - len(policy.faults)
    if unshown > 0:
        yield f"  and {unshown} faults more"
    if policy.consequence:
        yield f"  {policy.consequence}"
