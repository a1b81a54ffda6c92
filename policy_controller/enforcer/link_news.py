"""The kernel's word that a link has come, leads elsewhere or has gone, over rtnetlink.

Knows one multicast group of the network namespace in which it is opened. Knows nothing of what a link is for.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Final

from pyroute2.netlink.rtnl import RTM_DELLINK, RTM_NEWLINK

from policy_controller.enforcer.residence import (
    LINK,
    LINK_MASTER,
    LINK_NAME,
    LINK_NAMESPACE,
    MESSAGE,
    attributes,
)

LINKS: Final = 1
"""RTMGRP_LINK."""
RECEIVED: Final = 1 << 16


async def follow_links(note: Callable[[], None]) -> None:
    """Call `note` whenever links of this thread's network namespace come, go, or get another name, master or other end.

    A link that goes up and down, as a pod may have its own do, is no news. Ends only by cancellation; raises OSError.
    """
    held: dict[int, bytes] = {}
    flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    with socket.socket(socket.AF_NETLINK, flags, socket.NETLINK_ROUTE) as news:
        news.bind((0, LINKS))
        loop = asyncio.get_running_loop()
        # What goes wrong in a callback would end nothing, and nobody would listen any more.
        wrong: asyncio.Future[None] = loop.create_future()

        def read() -> None:
            try:
                _read(news, held, note)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below
                if not wrong.done():
                    wrong.set_exception(error)

        loop.add_reader(news.fileno(), read)
        try:
            await wrong
        finally:
            loop.remove_reader(news.fileno())


def _read(news: socket.socket, held: dict[int, bytes], note: Callable[[], None]) -> None:
    changed = False
    with contextlib.suppress(BlockingIOError):
        while True:
            try:
                changed |= _differs(news.recv(RECEIVED), held)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # News was lost, of links that have gone among them: what is remembered of those would stay for ever.
                held.clear()
                changed = True
    if changed:
        note()


def _differs(received: bytes, held: dict[int, bytes]) -> bool:
    """Whether one message tells of anything that matters and was not told before."""
    if len(received) < MESSAGE.size + LINK.size:
        # Nothing that is known; who is asked then sees what it was about.
        return True
    _, kind, _, _, _ = MESSAGE.unpack_from(received)
    if kind not in (RTM_NEWLINK, RTM_DELLINK):
        return False
    family, _, index, _, _ = LINK.unpack_from(received, MESSAGE.size)
    if family != socket.AF_UNSPEC:
        # A bridge tells of its port, which lasts or goes as the link does.
        return False
    if kind == RTM_DELLINK:
        held.pop(index, None)
        return True
    parts = dict(attributes(received, MESSAGE.size + LINK.size))
    now = b"/".join(parts.get(one, b"") for one in (LINK_NAME, LINK_MASTER, LINK_NAMESPACE))
    before, held[index] = held.get(index), now
    return before != now
