"""`policy-controller`: the operator as a process.

Knows flags, signals and logging. Everything else is operator.py's.
"""

import asyncio
import json
import logging
import signal
import sys
from typing import Final

import click

from policy_controller.clock import SystemClock
from policy_controller.controller.operator import Operator
from policy_controller.controller.settings import TABLE, Settings
from policy_controller.settings.flags import takes_settings

QUIET: Final = ("kopf", "httpx", "httpcore", "asyncio", "aiohttp", "kr8s")
"""Loggers of libraries that tell of every request, or of every object."""

log = logging.getLogger("policy_controller")


LONGEST_MESSAGE: Final = 2_000
LONGEST_EXCEPTION: Final = 8_000
"""Characters; libraries tell of whole objects, and an object may have a million."""


class JsonLines(logging.Formatter):
    """One JSON object a line: a name from the cluster cannot end a line or begin an escape sequence, or fill the log."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of ASCII."""
        entry = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:LONGEST_MESSAGE],
        }
        if record.exc_info:
            # The end of a traceback names the error.
            entry["exception"] = self.formatException(record.exc_info)[-LONGEST_EXCEPTION:]
        return json.dumps(entry)


@click.command()
@takes_settings(TABLE)
def main(settings: Settings) -> None:
    """Watch NetworkPolicies and push each node the rule set it should enforce."""
    log_to_stderr()
    sys.exit(asyncio.run(serve(settings)))


def log_to_stderr() -> None:
    """One JSON object a line, and libraries only when something is wrong."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


async def serve(settings: Settings) -> int:
    """Run the operator until SIGTERM or SIGINT; returns the process's exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def take_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

    try:
        await Operator(settings, SystemClock()).run(stop, take_signals)
    except Exception:
        log.exception("the operator cannot go on")
        return 1
    log.info("stopped")
    return 0


if __name__ == "__main__":
    main()
