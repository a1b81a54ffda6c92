"""A cluster on this machine, as a program: an API server, two nodes, their kubelets. `python -m e2e.site --directory DIR`

Writes DIR/kubeconfig when it is ready, and ends with SIGTERM. What is applied runs: from this checkout, or from the images that
e2e/image.sh has made, with the user, rights and read-only root that the manifests say. Knows the laboratory and the
development API server. Knows nothing of what is applied. Needs root.
"""

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import click

from e2e.archives import unpack
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.features import Features, Permission, Transport
from policy_controller.testing.api_server.features import Kubelet as Doors
from policy_controller.testing.kubelet import OWN, Image, Kubelet
from policy_controller.testing.kubelet.relay import CLUSTER_IP
from policy_controller.testing.laboratory import Laboratory, NetworkKind

NODES: Final = ("node-a", "node-b")
PROBE: Final = "policy-controller/probe"
CHECKOUT: Final[Mapping[str, Image]] = {
    **OWN,
    PROBE: Image((sys.executable, "-m", "policy_controller.testing.probe.agent")),
}
FEATURES: Final = Features(
    Transport.TLS, names=(CLUSTER_IP,), permission=Permission.AUTHORIZED, kubelet=Doors.PLAYED
)


@click.command()
@click.option(
    "--directory",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="For the kubeconfig, logs and volumes.",
)
@click.option(
    "--network",
    type=click.Choice([kind.value for kind in NetworkKind]),
    default=NetworkKind.BRIDGE.value,
    show_default=True,
    help="The pod network.",
)
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Archives of e2e/image.sh; without them this checkout.",
)
def main(directory: Path, network: str, images: Path | None) -> None:
    """Run a cluster of two nodes on this machine until told to end."""
    asyncio.run(_run(directory, NetworkKind(network), images))


async def _run(directory: Path, network: NetworkKind, archives: Path | None) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    images = dict(CHECKOUT) if archives is None else _unpacked(archives, directory / "images")
    draft = directory / ".kubeconfig"
    async with AsyncExitStack() as stack:
        laboratory = stack.enter_context(Laboratory(network=network))
        server = await stack.enter_async_context(ApiServer.running(features=FEATURES))
        draft.touch(mode=0o600)
        draft.write_text(server.kubeconfig())
        kubelet = await stack.enter_async_context(Kubelet(laboratory, draft, directory, images))
        for name in NODES:
            await asyncio.to_thread(laboratory.add_node, name)
            await kubelet.add_node(name)
        draft.rename(directory / "kubeconfig")
        await ended.wait()


def _unpacked(archives: Path, directory: Path) -> dict[str, Image]:
    return dict(unpack(archive, directory / archive.stem) for archive in sorted(archives.glob("*.tar")))


if __name__ == "__main__":
    main()
