"""Runs the installed policyctl as a shell would, and gives back what it printed."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

POLICYCTL = Path(sys.executable).with_name("policyctl")


def policyctl(
    *flags: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, seconds: float = 90
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603 - our own program
        [str(POLICYCTL), *flags],
        input=stdin,
        capture_output=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **(env or {})},
    )
