"""The build that wrote the bytes of the wire which are kept: an older one, from the history of this checkout.

Knows git. Knows nothing of what is done with the build. Where there is no history that holds it, tests skip and say why.
"""

import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from policy_controller.wire.tests.wire_by_version import FIRST

ROOT: Final = Path(__file__).parents[4]
PACKAGES: Final = ("compilers", "nft_templates", "policy_controller")
WORDS: Final = "an older build is running"
"""What its programs say first, so that a test knows that they are of it."""


@contextmanager
def older_build() -> Iterator[Path]:
    """A directory with the packages as they were, for PYTHONPATH; where containers of the laboratory see it."""
    commit = _git("log", "-1", "--format=%H", "--", str(FIRST)).decode().strip()
    if not commit:
        pytest.skip("git knows no commit that wrote the bytes of the wire")
    folder = Path(tempfile.mkdtemp(prefix="older-build-", dir=sys.prefix))
    try:
        with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, *PACKAGES))) as archive:
            # Without `filter`, which Python knows since 3.11.4: git wrote the archive, of our own history.
            archive.extractall(folder)  # noqa: S202 - as said
        first = folder / "policy_controller" / "__init__.py"
        first.write_text(f"{first.read_text()}\nimport sys\n\nprint({WORDS!r}, file=sys.stderr)\n")
        # Containers run as somebody else.
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def _git(*words: str) -> bytes:
    git = shutil.which("git")
    if git is None:
        pytest.skip("there is no git")
    done = subprocess.run((git, "-C", str(ROOT), *words), capture_output=True, check=False)  # noqa: S603 - fixed words
    if done.returncode:
        pytest.skip(f"git does not have it: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
