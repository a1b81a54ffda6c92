"""`policyctl wait --for enforced`: returns when policies, as the API server holds them now, are in force on all their nodes.

Asks the API server which version that is, and a running operator how far it has come (waiting.py). Knows kubectl's words.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Final

import click

from compilers.model.names import DNS_LABEL, DNS_SUBDOMAIN
from policy_controller.cli.output import printable, printable_lines, standard_output
from policy_controller.cli.reach.flags import reaches_the_operator
from policy_controller.cli.reach.policies import Held, Scope, held
from policy_controller.cli.reach.way import NotReached, Way
from policy_controller.cli.waiting import Patience, Told, waited

KINDS: Final = frozenset(
    {
        *("networkpolicy", "networkpolicies", "netpol"),
        *("networkpolicy.networking.k8s.io", "networkpolicies.networking.k8s.io"),
        *("networkpolicy.v1.networking.k8s.io", "networkpolicies.v1.networking.k8s.io"),
    }
)
"""What kubectl takes for a NetworkPolicy."""
UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+")
PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
LONGEST_SECONDS: Final = 24 * 3600.0


class Duration(click.ParamType[float]):
    """Go's durations, as kubectl takes them: `90s`, `1m30s`; `0` asks once."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        text = str(value)
        if text == "0":
            return 0.0
        if not DURATION.fullmatch(text):
            self.fail(f"{text!r} is not a duration like 60s or 1m30s", param, ctx)
        seconds = sum(float(number) * UNITS[unit] for number, unit in PART.findall(text))
        if seconds > LONGEST_SECONDS:
            self.fail(f"{text!r} is more than 24h", param, ctx)
        return seconds


@click.command("wait")
@click.argument("targets", metavar="networkpolicy/NAME...", nargs=-1)
@click.option(
    "--for",
    "condition",
    type=click.Choice(["enforced"]),
    required=True,
    expose_value=False,
    help="What is waited for.",
)
@click.option("-n", "--namespace", help="Of the policies; without it that of the kubeconfig's context.")
@click.option("--all", "everyone", is_flag=True, help="All policies of the namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="With --all: of every namespace.")
@click.option("--timeout", type=Duration(), default="60s", show_default=True, help="0: ask once.")
@reaches_the_operator
def wait_command(
    way: Way,
    url: str | None,
    targets: Sequence[str],
    namespace: str | None,
    everyone: bool,
    all_namespaces: bool,
    timeout: float,
) -> None:
    r"""Wait until policies are enforced on every node that has pods they isolate.

    What counts is the version that the API server holds when the command begins, or a later one: after `kubectl apply`
    it cannot be satisfied by what was in force before. A policy that isolates no pod is enforced.

    It asks the API server for the policies (the permission to list networkpolicies) and the running operator as
    `policyctl status` does. The last state is printed in any case. The exit code is 0 when all are enforced, 1 when time
    ran out or somebody was not reached, and 2 when there is no such policy.

    \b
    Examples:
      policyctl wait --for enforced networkpolicy/deny -n shop --timeout 60s
      policyctl wait --for enforced netpol/deny netpol/allow
      policyctl wait --for enforced networkpolicy --all -A
    """
    names = _names(targets, everyone=everyone)
    scope = _scope(namespace, everyone=everyone, everywhere=all_namespaces)
    try:
        wanted = asyncio.run(_wanted(way, scope, names))
        told = asyncio.run(waited(wanted, Patience(timeout), url=url, way=way))
    except NotReached as fault:
        raise click.ClickException(printable_lines(str(fault))) from None
    with standard_output():
        for one in told:
            click.echo(printable(one.sentence))
    _conclude(told, timeout)


def _conclude(told: Sequence[Told], seconds: float) -> None:
    missing = sum(not one.enforced for one in told)
    if missing:
        click.echo(f"Error: {missing} of {len(told)} policies not enforced within {seconds:g} s", err=True)
        raise SystemExit(1)


def _names(targets: Sequence[str], *, everyone: bool) -> tuple[str, ...]:
    """The names of `kind/name...` or of `kind name...`; none with --all. Raises UsageError."""
    words = list(targets)
    if words and "/" not in words[0]:
        kind = words.pop(0)
        _check_kind(kind)
        words = [f"{kind}/{word}" for word in words]
    names = []
    for word in words:
        kind, slash, name = word.partition("/")
        _check_kind(kind)
        if not slash or not DNS_SUBDOMAIN.fits(name):
            raise click.UsageError(f"{printable(word)!r} is not of the form networkpolicy/NAME")
        names.append(name)
    if everyone == bool(names):
        raise click.UsageError("name policies as networkpolicy/NAME, or all of them by --all")
    return tuple(sorted(set(names)))


def _check_kind(word: str) -> None:
    if word.lower() not in KINDS:
        raise click.UsageError(f"{printable(word)!r} is no networkpolicy: only those can be waited for")


def _scope(namespace: str | None, *, everyone: bool, everywhere: bool) -> Scope:
    if everywhere and (namespace is not None or not everyone):
        raise click.UsageError("--all-namespaces goes with --all, and without --namespace")
    if namespace is not None and not DNS_LABEL.fits(namespace):
        raise click.UsageError(f"{printable(namespace)!r} is not the name of a namespace")
    return Scope(namespace, everywhere)


async def _wanted(way: Way, scope: Scope, names: Sequence[str]) -> tuple[Held, ...]:
    """The policies as the API server holds them now; raises UsageError for one that there is not."""
    if not names:
        found = await held(way, scope, None)
        if not found:
            raise click.UsageError("there is no networkpolicy")
        return found
    wanted: list[Held] = []
    for name in names:
        found = await held(way, scope, name)
        if not found:
            where = f" in namespace {scope.namespace}" if scope.namespace else ""
            raise click.UsageError(f"there is no networkpolicy {name}{where}")
        wanted += found
    return tuple(sorted(wanted))
