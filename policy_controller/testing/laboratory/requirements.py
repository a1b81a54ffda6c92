"""What a laboratory needs of the machine, checked before anything is made.

Each check gives one sentence that names what is missing and what mends it.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from policy_controller.testing.laboratory.netns import LaboratoryError

BRIDGE_SETTINGS: Final = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
COMMANDS: Final = {"nft": "nftables", "setpriv": "util-linux"}
"""Command -> the Debian package that brings it."""


def check_requirements() -> None:
    """Raise LaboratoryError with the first thing that is missing; load br_netfilter if that helps."""
    for check in (_root, _commands, _bridge_netfilter):
        missing = check()
        if missing is not None:
            raise LaboratoryError(missing)


def _root() -> str | None:
    if os.geteuid() != 0:
        return "network namespaces need root: run as root (or with sudo)"
    return None


def _commands() -> str | None:
    for command, package in COMMANDS.items():
        if shutil.which(command) is None:
            return f"the command {command} is missing: install the package {package}"
    return None


def _bridge_netfilter() -> str | None:
    if not BRIDGE_SETTINGS.exists() and shutil.which("modprobe") is not None:
        subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True)  # noqa: S607 - root's own PATH
    if not BRIDGE_SETTINGS.exists():
        return "the kernel module br_netfilter is not loaded: run `modprobe br_netfilter`"
    return None
