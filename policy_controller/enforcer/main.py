"""policy-enforcer: the process of a node, from its settings.

Knows settings, the log, and what the node must have before anything starts (lifecycle.py runs the rest).
"""

import asyncio
import logging
import resource
import sys
from typing import Final

import click

import nft_templates
from compilers.nftables.base import Base, base_tables
from compilers.nftables.lexer import ReadError
from compilers.nftables.transaction import Nft, NftRejectedError
from compilers.nftables.words import InvalidNftError
from policy_controller.enforcer.conntrack import Conntrack
from policy_controller.enforcer.credentials import NotThereYet
from policy_controller.enforcer.dry_run import NoSnapshotError, dry_run
from policy_controller.enforcer.health import ListenError
from policy_controller.enforcer.interfaces import detect
from policy_controller.enforcer.libnftables import BindingMissingError, LibNft
from policy_controller.enforcer.lifecycle import live, restore
from policy_controller.enforcer.preflight import Weight, findings, kernel_findings
from policy_controller.enforcer.residence import LinkedNamespaces
from policy_controller.enforcer.session import NotAcceptedError
from policy_controller.enforcer.settings import TABLE, Settings
from policy_controller.enforcer.surroundings import look_around
from policy_controller.logs import logging_to_stderr
from policy_controller.settings.flags import takes_settings
from policy_controller.wire.refused import Refused, plain

log = logging.getLogger(__name__)

MOST_DESCRIPTORS: Final = 1024


class CannotGoOnError(Exception):
    """Why the process must end: one sentence or several."""

    def __init__(self, *sentences: str) -> None:
        super().__init__(*sentences)
        self.sentences = sentences


@click.command()
@takes_settings(TABLE)
@click.option(
    "--dry-run", "mode", flag_value="dry-run", help="Print what the first snapshot would change, and end."
)
@click.option(
    "--restore",
    "mode",
    flag_value="restore",
    help="Put the saved rule set in force if the kernel knows no pod, and end.",
)
def main(settings: Settings, mode: str | None) -> None:
    """Enforce NetworkPolicy on this node, as the operator says."""
    _bound_descriptors()
    with logging_to_stderr(settings.log_format, settings.log_level, settings.log_rate):
        try:
            code = _run(settings, mode)
        except CannotGoOnError as fault:
            for sentence in fault.sentences:
                log.error("%s", sentence)
            code = 1
        except Exception:
            log.exception("the enforcer cannot go on")
            code = 1
    sys.exit(code)


def _run(settings: Settings, mode: str | None) -> int:
    """Returns the exit code; raises CannotGoOnError."""
    try:
        nft, links = LibNft(), look_around().links
        interfaces = settings.pod_interfaces or detect(links)
        base = base_tables(
            nft_templates.read(nft_templates.INET),
            nft_templates.read(nft_templates.BRIDGE),
            settings.base(interfaces),
        )
    except (BindingMissingError, InvalidNftError, OSError) as error:
        raise CannotGoOnError(str(error)) from error
    log.info("pods are met on %s", ", ".join(interfaces))
    if settings.api_server.called is None:
        log.warning(
            "where pods call the API server is not known (--api-server): while no operator is there, one that is "
            "started on this node may not reach it"
        )
    _preflight(nft, base, interfaces)
    if mode == "dry-run":
        click.echo(_dry_run(settings, interfaces, nft, base), nl=False)
        return 0
    if mode == "restore":
        return 0 if asyncio.run(restore(settings, interfaces, nft, Conntrack(), base)) else 1
    try:
        return asyncio.run(live(settings, interfaces, nft, Conntrack(), base))
    except ListenError as error:
        raise CannotGoOnError(f"{settings.listen}: {error}") from error


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
        raise CannotGoOnError(*(finding.sentence for finding in fatal))
    for finding in around:
        log.warning("%s", finding.sentence)


def _dry_run(settings: Settings, interfaces: tuple[str, ...], nft: Nft, base: Base) -> str:
    try:
        residence = LinkedNamespaces(interfaces)
        return asyncio.run(dry_run(settings.node, settings.way, nft, residence, base, settings.gates))
    except (NoSnapshotError, NotThereYet, NotAcceptedError, Refused, NftRejectedError, ReadError) as error:
        raise CannotGoOnError(plain(str(error))) from error
