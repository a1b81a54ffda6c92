"""The two commands of the README, typed by somebody who is not root."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = ("Makefile", "pyproject.toml", "requirements.lock")


@pytest.mark.parametrize("flags", [(), ("-j4",)])
@pytest.mark.parametrize("target", ["demo", "test"])
def test_that_root_is_needed_is_said_before_anything_is_set_up(
    tmp_path: Path, target: str, flags: tuple[str, ...]
) -> None:
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    somebody = tmp_path / "id"
    somebody.write_text("#!/bin/sh\necho 1000\n")
    somebody.chmod(0o755)

    # With no Python at all, the first step of the set-up would complain about that.
    done = subprocess.run(  # noqa: S603 - our own Makefile
        ["/usr/bin/make", "-C", str(tmp_path), target, "PYTHON=/bin/false", *flags],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.startswith(f"make {target} needs root: ".encode())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "id"])
