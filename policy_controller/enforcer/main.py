"""policy-enforcer: the process of a node, from its flags.

Knows flags, what is wrong with them, and what the node must have before anything starts (lifecycle.py runs the rest).
"""

import asyncio
import logging
import resource
import sys
from typing import Final

import click
import grpc.aio

import nft_templates
from compilers.model.faults import InvalidField
from compilers.nftables.base import Base, BaseSettings, base_tables
from compilers.nftables.lexer import ReadError
from compilers.nftables.transaction import Nft, NftRejectedError
from compilers.nftables.words import InvalidNftError
from policy_controller.enforcer.conntrack import Conntrack
from policy_controller.enforcer.dry_run import NoSnapshotError, dry_run
from policy_controller.enforcer.gates import UnknownGates, UnknownPods
from policy_controller.enforcer.health import ListenError
from policy_controller.enforcer.interfaces import detect
from policy_controller.enforcer.libnftables import BindingMissingError, LibNft
from policy_controller.enforcer.lifecycle import live
from policy_controller.enforcer.preflight import Weight, findings, kernel_findings
from policy_controller.enforcer.session import NotAcceptedError
from policy_controller.enforcer.settings import Endpoint, Settings
from policy_controller.enforcer.surroundings import look_around
from policy_controller.wire.channel import InvalidAddress
from policy_controller.wire.refused import Refused, plain

log = logging.getLogger(__name__)

MOST_DESCRIPTORS: Final = 1024
DEFAULT_OPERATOR: Final = "unix:///run/policy-controller/operator.sock"


@click.command()
@click.option("--node", required=True, envvar="NODE_NAME", help="Name of this node, as the API has it.")
@click.option("--operator", default=DEFAULT_OPERATOR, show_default=True, help="Where the operator listens.")
@click.option(
    "--listen", default="127.0.0.1:9470", show_default=True, help="HOST:PORT of health and metrics."
)
@click.option(
    "--pod-interfaces",
    help="Names of the interfaces on which pods are met, with commas; * at the end matches the rest. Default: detected.",
)
@click.option(
    "--unknown-pods",
    type=click.Choice([choice.value for choice in UnknownPods]),
    default=UnknownPods.DROP.value,
    show_default=True,
    help="Addresses that no known pod has, while the operator is out of reach.",
)
@click.option(
    "--unknown-wait",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Seconds for which a pod without an address keeps unknown addresses dropped.",
)
@click.option(
    "--dry-run", "mode", flag_value="dry-run", help="Print what the first snapshot would change, and end."
)
def main(
    node: str,
    operator: str,
    listen: str,
    pod_interfaces: str | None,
    unknown_pods: str,
    unknown_wait: float,
    mode: str | None,
) -> None:
    """Enforce NetworkPolicy on this node, as the operator says."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    _bound_descriptors()
    try:
        settings = Settings(
            node=node,
            operator=operator,
            listen=Endpoint.parse(listen),
            pod_interfaces=tuple(pod_interfaces.split(",")) if pod_interfaces is not None else None,
            gates=UnknownGates(UnknownPods(unknown_pods), unknown_wait),
        )
    except (InvalidField, InvalidAddress, ValueError) as error:
        raise click.UsageError(str(error)) from error
    try:
        nft, links = LibNft(), look_around().links
        interfaces = settings.pod_interfaces or detect(links)
        base = base_tables(
            nft_templates.read(nft_templates.INET),
            nft_templates.read(nft_templates.BRIDGE),
            BaseSettings(interfaces),
        )
    except (BindingMissingError, InvalidNftError, OSError) as error:
        raise click.ClickException(str(error)) from error
    log.info("pods are met on %s", ", ".join(interfaces))
    _preflight(nft, base, interfaces)
    if mode is not None:
        click.echo(_dry_run(settings, nft, base), nl=False)
        return
    try:
        code = asyncio.run(live(settings, interfaces, nft, Conntrack(), base))
    except ListenError as error:
        raise click.ClickException(f"--listen {listen}: {error}") from error
    raise SystemExit(code)


def _bound_descriptors() -> None:
    """Bound them, since libnftables waits with select(): a descriptor numbered 1024 or more ends the process. Then opening one had better fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    bound = MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, MOST_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (bound, hard))


def _preflight(nft: Nft, base: Base, interfaces: tuple[str, ...]) -> None:
    """Say what is missing; without what nothing can be done, end."""
    around = findings(look_around(), interfaces)
    fatal = [finding for finding in around if finding.weight is Weight.FATAL]
    # Without the capability the kernel refuses everything, and its own words for it would mislead.
    fatal = fatal or list(kernel_findings(nft, base))
    if fatal:
        raise click.ClickException("\n".join(finding.sentence for finding in fatal))
    for finding in around:
        log.warning("%s", finding.sentence)


def _dry_run(settings: Settings, nft: Nft, base: Base) -> str:
    try:
        return asyncio.run(dry_run(settings.node, settings.operator, nft, base, settings.gates))
    except grpc.aio.AioRpcError as error:
        raise click.ClickException(f"the operator at {settings.operator} is not reached") from error
    except (NoSnapshotError, NotAcceptedError, Refused, NftRejectedError, ReadError) as error:
        raise click.ClickException(plain(str(error))) from error
