"""`policy-controller`: the operator as a process.

Knows settings, signals and the log. Everything else is operator.py's.
"""

import asyncio
import logging
import resource
import signal
import sys
from typing import Final

import click

from policy_controller.clock import SystemClock
from policy_controller.controller.operator import Operator
from policy_controller.controller.settings import TABLE, Settings
from policy_controller.logs import NativeLines, logging_to_stderr
from policy_controller.settings.flags import takes_settings

log = logging.getLogger(__name__)

DESCRIPTORS: Final = 65_536
"""How many the process takes the right to, where it may: every node, and whoever else connects, is one."""


@click.command()
@takes_settings(TABLE)
def main(settings: Settings) -> None:
    """Watch NetworkPolicies and push each node the rule set it should enforce."""
    _take_descriptors()
    with logging_to_stderr(settings.log_format, settings.log_level, settings.log_rate) as native:
        code = asyncio.run(serve(settings, native))
    sys.exit(code)


async def serve(settings: Settings, native: NativeLines) -> int:
    """Run the operator until SIGTERM or SIGINT; returns the process's exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

    try:
        operator = Operator(settings, SystemClock())
        # Only gRPC's core knows that a handshake failed, and only prints it.
        native.subscribe(lambda line: operator.handshakes.hear(line.text))
        await operator.run(stop, take_signals)
    except Exception:
        log.exception("the operator cannot go on")
        return 1
    log.info("stopped")
    return 0


def _take_descriptors() -> None:
    # systemd, and containerd 2 with it, start processes with 1,024 and let them take half a million.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
