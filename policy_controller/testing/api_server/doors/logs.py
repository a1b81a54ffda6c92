"""What a container said, so far or for as long as somebody reads.

Knows files. A log that is not there yet is an empty one: the container has not said anything.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.1


async def said(path: Path, tail_lines: int | None, *, follow: bool) -> AsyncIterator[bytes]:
    """The content in pieces: all of it, or its last lines; and what is added, for as long as it is followed."""
    content = _read(path, 0)
    offset = len(content)
    yield content if tail_lines is None else _tail(content, tail_lines)
    while follow:
        await asyncio.sleep(POLL_SECONDS)
        added = _read(path, offset)
        offset += len(added)
        if added:
            yield added


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def _tail(content: bytes, lines: int) -> bytes:
    return b"".join(content.splitlines(keepends=True)[-lines:]) if lines else b""
