"""`python -m policy_controller.testing.api_server`: serves until it is told to stop."""

import asyncio
import os
import signal
from pathlib import Path

import click

from policy_controller.testing.api_server.faults import Faults
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
def main(
    host: str, port: int, kubeconfig: Path | None, validate: bool, bookmark_seconds: float, faults: bool
) -> None:
    """Run a development Kubernetes API server. Nothing is kept after it stops, and nobody is authenticated."""
    server = ApiServer(
        validate=validate, bookmark_seconds=bookmark_seconds, faults=Faults() if faults else None
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
