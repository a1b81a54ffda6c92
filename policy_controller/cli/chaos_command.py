"""`policyctl chaos`: flags, what is printed, and the exit code.

Knows how a report is shown. Knows nothing of faults: policy_controller/testing/chaos does all.
"""

import asyncio
import os
import secrets
import shutil
import signal
from pathlib import Path
from statistics import median
from typing import Any, Final

import click
import msgspec

from policy_controller.cli.demo.folder import own_folder
from policy_controller.cli.output import printable, printable_lines, standard_output
from policy_controller.testing.chaos.chaos import SEEDS, Order, Report, chaos
from policy_controller.testing.chaos.plan import FAULTS, Kind, document, plan
from policy_controller.testing.examples import node_names
from policy_controller.testing.installation.api import RefusedError
from policy_controller.testing.installation.installation import InstallationError
from policy_controller.testing.laboratory import LaboratoryError, NetworkKind
from policy_controller.testing.probe import ProbeError

SCHEMA: Final = "chaos/v1"
FORMATS: Final = ("text", "json")
NODES: Final = 3
MOST_NODES: Final = 8


@click.command("chaos")
@click.option("--minutes", type=click.FloatRange(0.1, 24 * 60), default=2, show_default=True)
@click.option(
    "--seed", type=click.IntRange(0, SEEDS - 1), help="What all chances come from; without it one is drawn."
)
@click.option("--nodes", type=click.IntRange(2, MOST_NODES), default=NODES, show_default=True)
@click.option(
    "--network",
    type=click.Choice([kind.value for kind in NetworkKind]),
    default=NetworkKind.BRIDGE.value,
    show_default=True,
    help="How pods connect: a bridge with host routes, a bridge over VXLAN, or routed links.",
)
@click.option(
    "--plan", "only_plan", is_flag=True, help="Print which fault and change comes when, and do nothing."
)
@click.option(
    "--logs", type=click.Path(file_okay=False), help="Keep what all programs logged in this new directory."
)
@click.option("-o", "--output", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
def chaos_command(
    minutes: float, seed: int | None, nodes: int, network: str, only_plan: bool, logs: str | None, output: str
) -> None:
    """Break a whole installation at random, and see with packets whether it ever opens or refuses wrongly.

    API server, two operators, nodes with an enforcer each and a dozen pods, all in network namespaces of this machine. Programs are
    killed, the API server fails, tables are tampered with, pods and policies come and go; every pair is asked all the
    time, and each answer is compared with what the reference evaluator says of the objects. Needs root.

    The exit code is 1 when something leaked or was refused, when not all recovered, or when more than 5 % of
    the probes fell into windows in which nobody can say.
    """
    drawn = secrets.randbelow(SEEDS) if seed is None else seed
    order = Order(drawn, minutes * 60, NetworkKind(network), node_names(nodes))
    if only_plan:
        with standard_output():
            steps = plan(order.seed, order.seconds, order.network)
            click.echo(document(order.seed, order.seconds, order.network, steps))
        return
    if os.geteuid() != 0:
        raise click.ClickException("needs root: it makes network namespaces and loads nftables rule sets")
    try:
        report = asyncio.run(_chaos(order, logs))
    except (InstallationError, LaboratoryError, ProbeError, RefusedError) as error:
        raise click.ClickException(printable_lines(str(error))) from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise SystemExit(130) from None
    with standard_output():
        if output == "json":
            click.echo(msgspec.json.format(msgspec.json.encode(as_tree(report)), indent=2))
        else:
            click.echo(printable_lines("\n".join(_lines(report))))
    raise SystemExit(0 if report.holds else 1)


async def _chaos(order: Order, logs: str | None) -> Report:
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    if this is not None:
        loop.add_signal_handler(signal.SIGTERM, this.cancel)
    with own_folder() as folder:
        try:
            return await chaos(order, folder, lambda sentence: click.echo(printable(sentence), err=True))
        finally:
            if logs is not None:
                _keep_logs(folder, Path(logs))


def _keep_logs(folder: Path, logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.log"):
        shutil.copy(path, logs)


def as_tree(report: Report) -> dict[str, Any]:
    """The report as schema chaos/v1."""
    tally, journal = report.tally, report.journal
    kinds = sorted(journal.done)
    return {
        "schema": SCHEMA,
        "seed": report.order.seed,
        "seconds": round(report.seconds, 1),
        "network": report.order.network.value,
        "nodes": len(report.order.nodes),
        "probes": tally.probes,
        "probes_allowed": tally.allowed,
        "probes_denied": tally.denied,
        "faults": report.faults,
        "leaks": tally.leaks,
        "refusals": tally.refusals,
        "inside_windows": tally.inside_windows,
        "oracle": report.oracle.value,
        "trouble": report.trouble,
        "faults_by_kind": {kind: journal.done[kind] for kind in kinds if Kind(kind) in FAULTS},
        "changes_by_kind": {kind: journal.done[kind] for kind in kinds if Kind(kind) not in FAULTS},
        "inside_windows_by_reason": dict(sorted(tally.reasons.items())),
        "recovery_seconds": _spread(journal.recoveries),
        "repair_seconds": _spread(journal.repairs),
        "told": report.told,
    }


def _spread(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {"count": len(seconds), "median": round(median(seconds), 3), "most": round(max(seconds), 3)}


def _lines(report: Report) -> list[str]:
    tally = report.tally
    share = 100 * tally.inside_windows / max(tally.probes, 1)
    where = f"{report.order.network.value}, {len(report.order.nodes)} nodes"
    seen = f"{tally.probes} probes, {tally.leaks} leaks, {tally.refusals} refusals"
    return [
        f"seed {report.order.seed}, {report.seconds:.0f} s, {where}",
        f"{report.faults} faults, {seen}, {tally.inside_windows} inside windows ({share:.1f} %)",
        f"at the end every kernel held {report.oracle.value} as a fresh compile gives",
        *([report.trouble] if report.trouble else []),
        *report.told,
    ]
