"""A ring of frames that the kernel sends again and again without copying them from user space.

Knows AF_PACKET's PACKET_TX_RING (Documentation/networking/packet_mmap.rst, TPACKET_V2). Knows nothing of what is in
the frames. Python only says how many to send: the kernel's loop does the rest.
"""

import array
import errno
import mmap
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

SOL_PACKET: Final = 263
PACKET_VERSION: Final = 10
PACKET_TX_RING: Final = 13
PACKET_QDISC_BYPASS: Final = 20
TPACKET_V2: Final = 1
STATUS_SEND_REQUEST: Final = 1
HEADER_LENGTH: Final = 32
SLOT_LENGTH: Final = 128
BLOCK_LENGTH: Final = 1 << 16
SLOTS_OF_A_BLOCK: Final = BLOCK_LENGTH // SLOT_LENGTH


class TransmitRing:
    """Frames on one interface of the namespace the thread is in; a context manager. Needs CAP_NET_RAW.

    The number of frames is a multiple of SLOTS_OF_A_BLOCK; each is at most SLOT_LENGTH - HEADER_LENGTH bytes long.
    """

    def __init__(self, interface: str, frames: Sequence[bytes]) -> None:
        blocks, rest = divmod(len(frames), SLOTS_OF_A_BLOCK)
        longest = max(map(len, frames), default=0)
        if rest or not blocks or longest > SLOT_LENGTH - HEADER_LENGTH:
            raise ValueError(f"{len(frames)} frames of up to {longest} bytes do not fit a ring")
        self._count = len(frames)
        self._position = 0
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_VERSION, struct.pack("i", TPACKET_V2))
        # Past the queueing discipline: each packet has been through all hooks when the call returns.
        self._socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, struct.pack("i", 1))
        request = struct.pack("IIII", BLOCK_LENGTH, blocks, SLOT_LENGTH, len(frames))
        self._socket.setsockopt(SOL_PACKET, PACKET_TX_RING, request)
        self._socket.bind((interface, 0))
        self._memory = mmap.mmap(self._socket.fileno(), len(frames) * SLOT_LENGTH)
        for number, frame in enumerate(frames):
            start = number * SLOT_LENGTH
            struct.pack_into("III", self._memory, start, 0, len(frame), len(frame))
            self._memory[start + HEADER_LENGTH : start + HEADER_LENGTH + len(frame)] = frame
        self._words = memoryview(self._memory).cast("I")
        self._requests = memoryview(array.array("I", [STATUS_SEND_REQUEST]) * len(frames))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._words.release()
        self._memory.close()
        self._socket.close()

    def send(self, count: int) -> None:
        """Send the next `count` frames (at most to the ring's end) and wait until they are under way."""
        last = min(self._position + count, self._count)
        stride = SLOT_LENGTH // 4
        self._words[self._position * stride : last * stride : stride] = self._requests[
            : last - self._position
        ]
        while True:
            try:
                self._socket.send(b"")
                break
            except OSError as error:
                # A frame was dropped at once; those behind it still wait.
                if error.errno != errno.ENOBUFS:
                    raise
        self._position = last % self._count
