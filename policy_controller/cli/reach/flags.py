"""How the operator is found, as flags that every command which asks it has.

Knows flags. Knows nothing of what is asked.
"""

import functools
from collections.abc import Callable
from typing import Any, Final

import click

from policy_controller.cli.reach.way import ADMIN_PORT, Way

Command = Callable[..., None]

FLAGS: Final[tuple[Callable[[Command], Command], ...]] = (
    click.option(
        "--operator-namespace",
        default="policy-controller",
        show_default=True,
        help="Where the operator runs.",
    ),
    click.option("--context", help="A context of the kubeconfig; without it the current one."),
    click.option(
        "--kubeconfig",
        type=click.Path(exists=True, dir_okay=False),
        help="Credentials; without it $KUBECONFIG or ~/.kube/config.",
    ),
    click.option(
        "--admin-port",
        default=ADMIN_PORT,
        show_default=True,
        type=click.IntRange(1, 65535),
        help="The port of the operator's setting `admin`.",
    ),
    click.option(
        "--admin",
        "url",
        metavar="URL",
        help="http://127.0.0.1:PORT of an admin interface that is reached without a cluster.",
    ),
)


def reaches_the_operator(command: Command) -> Command:
    """Gives a command these flags; it is called with `way` and `url`."""

    @functools.wraps(command)
    def called(
        *,
        operator_namespace: str,
        context: str | None,
        kubeconfig: str | None,
        admin_port: int,
        **rest: Any,  # noqa: ANN401 - flags of the command, of any type
    ) -> None:
        command(way=Way(operator_namespace, admin_port, kubeconfig, context), **rest)

    flagged: Command = called
    for flag in reversed(FLAGS):
        flagged = flag(flagged)
    return flagged
