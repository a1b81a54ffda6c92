"""Strangers at a port, and what they cost the process behind it.

Knows sockets and /proc. Knows nothing of who listens.
"""

import os
import secrets
import socket
from pathlib import Path
from typing import Final

from policy_controller.testing.laboratory import inside

SAID: Final[dict[str, bytes]] = {
    "nothing": b"",
    "garbage": secrets.token_bytes(400),
    "slowly": b"GET /readyz HTTP/1.1\r\nHost: a\r\nX-Slow: ",
}


class Crowd:
    """Strangers at one port, each of whom says nothing, garbage, or a request byte after byte."""

    def __init__(self, network: str, address: tuple[str, int]) -> None:
        self._network = network
        self._address = address
        self.sockets: list[socket.socket] = []

    def come(self, number: int) -> None:
        for _ in range(number):
            for words in SAID.values():
                with inside(self._network):
                    one = socket.create_connection(self._address, timeout=5)
                one.setblocking(False)
                self.sockets.append(one)
                _say(one, words)

    def drip(self) -> None:
        """A byte more of whoever is still there."""
        for one in self.sockets[2 :: len(SAID)]:
            _say(one, b"x")

    def leave(self) -> None:
        for one in self.sockets:
            one.close()


def _say(one: socket.socket, words: bytes) -> None:
    try:
        one.send(words)
    except OSError:
        # It was shown out.
        return


def descriptors(number: int) -> int:
    """Of a process."""
    return len(os.listdir(f"/proc/{number}/fd"))


def resident_bytes(number: int) -> int:
    """Of a process."""
    return int(Path(f"/proc/{number}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
