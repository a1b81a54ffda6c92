"""`python -m policy_controller.testing.api_server`: serves until it is told to stop."""

import asyncio
import os
import signal
from pathlib import Path

import click

from policy_controller.testing.api_server.faults import Faults
from policy_controller.testing.api_server.features import (
    SHORTEST_SECONDS,
    Features,
    Kubelet,
    NodeClaims,
    Permission,
    Transport,
)
from policy_controller.testing.api_server.server import BOOKMARK_SECONDS, ApiServer


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 takes any free one.")
@click.option(
    "--kubeconfig", type=click.Path(dir_okay=False, path_type=Path), help="Write a kubeconfig to this file."
)
@click.option(
    "--validate/--no-validate",
    default=True,
    show_default=True,
    help="Refuse malformed objects, or store them as they come.",
)
@click.option(
    "--bookmark-seconds",
    default=BOOKMARK_SECONDS,
    show_default=True,
    help="Pause between the bookmarks of a watch.",
)
@click.option("--faults/--no-faults", default=False, help="Serve /_faults, where faults begin and end.")
@click.option("--tls/--no-tls", default=False, help="Serve HTTPS; the kubeconfig holds the CA.")
@click.option(
    "--san",
    "names",
    multiple=True,
    help="Another host name or address that the certificate is good for; may be given again.",
)
@click.option(
    "--authorize/--no-authorize",
    default=False,
    help="Authenticate who asks, let RBAC decide, and tell at /_access what was asked. Needs --tls.",
)
@click.option(
    "--node-claims",
    type=click.Choice([choice.value for choice in NodeClaims]),
    default=NodeClaims.IN_TOKENS.value,
    show_default=True,
    help="Whether the token of a pod names its node.",
)
@click.option(
    "--shortest-token-seconds",
    type=click.IntRange(1, SHORTEST_SECONDS),
    default=SHORTEST_SECONDS,
    show_default=True,
    help="The shortest life of a token that may be asked for.",
)
@click.option(
    "--kubelet/--no-kubelet",
    default=False,
    help="Serve /_pods, where whoever runs pods says how their ports and logs are reached.",
)
def main(  # noqa: PLR0913 - one for each option
    *,
    host: str,
    port: int,
    kubeconfig: Path | None,
    validate: bool,
    bookmark_seconds: float,
    faults: bool,
    tls: bool,
    names: tuple[str, ...],
    authorize: bool,
    node_claims: str,
    shortest_token_seconds: int,
    kubelet: bool,
) -> None:
    """Run a development Kubernetes API server. Nothing is kept after it stops."""
    if authorize and not tls:
        # kubectl and its kin send no token in plain text: everybody would be anonymous.
        raise click.UsageError("--authorize needs --tls: clients send no credentials in plain text")
    features = Features(
        transport=Transport.TLS if tls else Transport.PLAIN,
        names=names,
        permission=Permission.AUTHORIZED if authorize else Permission.OPEN,
        node_claims=NodeClaims(node_claims),
        shortest_seconds=shortest_token_seconds,
        kubelet=Kubelet.PLAYED if kubelet else Kubelet.NONE,
    )
    server = ApiServer(
        validate=validate,
        bookmark_seconds=bookmark_seconds,
        faults=Faults() if faults else None,
        features=features,
    )
    asyncio.run(_serve(host, port, kubeconfig, server))


async def _serve(host: str, port: int, kubeconfig: Path | None, server: ApiServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server.listening(host, port):
        if kubeconfig is not None:
            _write_whole(kubeconfig, server.kubeconfig())
        click.echo(server.url)
        await stop.wait()


def _write_whole(path: Path, text: str) -> None:
    """Writes a file that never is seen half written; only its owner may read it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    main()
