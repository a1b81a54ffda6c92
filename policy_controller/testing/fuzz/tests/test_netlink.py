"""What the kernel answers over netlink: read, or an OSError; no bytes make a reader go on for ever or raise anything else."""

import struct
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Final, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import NLMSG_DONE, NLMSG_ERROR
from pyroute2.netlink.rtnl import RTM_NEWADDR, RTM_NEWLINK

from policy_controller.enforcer import commits, conntrack, link_news, residence
from policy_controller.enforcer.commits import NEWGEN, KernelCommits
from policy_controller.enforcer.conntrack import ConnectionsError, Conntrack
from policy_controller.enforcer.netlink import GENERIC, HEADER, attributes, messages, request
from policy_controller.enforcer.residence import LinkedNamespaces
from policy_controller.testing.extent import Extent
from policy_controller.testing.fuzz.mutations import changed_bytes
from policy_controller.testing.fuzz.tests.told import COUNTED, Record
from policy_controller.testing.fuzz.tries import tries

pytestmark = pytest.mark.timeout(900)

OURS: Final = ip_address("10.0.0.1")
CONNTRACK, NFTABLES = 1 << 8, 10 << 8


def attribute(kind: int, content: bytes) -> bytes:
    length = 4 + len(content)
    return struct.pack("=HH", length, kind) + content + bytes(-length % 4)


def tuple_of(kind: int) -> bytes:
    addresses = attribute(1, OURS.packed) + attribute(2, ip_address("10.0.0.2").packed)
    return attribute(
        kind | 0x8000, attribute(1 | 0x8000, addresses) + attribute(2 | 0x8000, attribute(1, b"\x06"))
    )


GENERAL: Final = GENERIC.pack(2, 0, 0)
ENTRY: Final = GENERAL + tuple_of(1) + tuple_of(2) + attribute(12, b"\0\0\0\x07")
LINK: Final = (
    residence.LINK.pack(0, 1, 4, 0, 0)
    + attribute(3, b"veth0\0")
    + attribute(10, struct.pack("=i", 2))
    + attribute(37, struct.pack("=i", 0))
)
ADDRESS: Final = (
    residence.ADDRESS.pack(2, 24, 0, 0, 3) + attribute(1, OURS.packed) + attribute(2, OURS.packed)
)
GENERATION: Final = (
    GENERAL + attribute(1, b"\0\0\0\x09") + attribute(2, b"\0\0\x10\x01") + attribute(3, b"nft\0")
)
RULE: Final = b"\x01\0\0\0" + attribute(1, commits.OUR_NAME) + attribute(2, b"chain\0")
DONE: Final = struct.pack("=i", 0)
REFUSED: Final = struct.pack("=i", -2) + bytes(16)

ANSWERS: Final = [
    b"".join(request(kind, 2, number, body) for kind, number, body in answer)
    for answer in (
        ((CONNTRACK, 1, ENTRY), (CONNTRACK, 1, ENTRY), (NLMSG_DONE, 1, DONE)),
        ((NLMSG_ERROR, 2, DONE),),
        ((RTM_NEWLINK, 1, LINK), (RTM_NEWLINK, 1, LINK), (NLMSG_DONE, 1, DONE)),
        ((RTM_NEWADDR, 2, ADDRESS), (RTM_NEWADDR, 2, ADDRESS), (NLMSG_DONE, 2, DONE)),
        ((NFTABLES | 6, 0, RULE), (NEWGEN, 0, GENERATION)),
        ((NLMSG_ERROR, 1, REFUSED),),
    )
]
GONE: Final = request(NLMSG_ERROR, 0, 3, REFUSED)
RECEIVED: Final = st.lists(
    changed_bytes(ANSWERS) | st.sampled_from([*ANSWERS, GONE]) | st.binary(max_size=60), max_size=6
)


class Scripted:
    """A socket that answers so, and then not at all."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self._answers = list(answers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def settimeout(self, seconds: float) -> None:
        pass

    def setsockopt(self, *_: int) -> None:
        pass

    def send(self, message: bytes) -> int:
        return len(message)

    def close(self) -> None:
        pass

    def recv(self, _: int) -> bytes:
        if not self._answers:
            raise TimeoutError("timed out")
        return self._answers.pop(0)


def test_what_the_tests_change_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack, "new_socket", lambda: Scripted([ANSWERS[0], ANSWERS[1], GONE]))
    assert Conntrack().end(frozenset({OURS})) == 1
    monkeypatch.setattr(residence, "new_socket", lambda _: Scripted([ANSWERS[2], ANSWERS[3]]))
    seen = LinkedNamespaces(("veth*",)).look()
    assert (dict(seen.links), seen.pods) == ({OURS: frozenset({4})}, frozenset({4}))
    monkeypatch.setattr(commits, "new_socket", lambda: Scripted([ANSWERS[4]]))
    assert KernelCommits.author().name == "nft"


def test_any_answer_is_read_or_an_error_of_the_system(
    monkeypatch: pytest.MonkeyPatch, extent: Extent, record_property: Record
) -> None:
    tried = []

    @tries(extent, 200, 4_000)
    @given(RECEIVED)
    def check(answers: list[bytes]) -> None:
        tried.append(answers)
        for module in (conntrack, residence, commits):
            monkeypatch.setattr(module, "new_socket", lambda *_: Scripted(answers))
        with suppress(ConnectionsError):
            assert Conntrack().end(frozenset({OURS})) >= 0
        with suppress(OSError):
            LinkedNamespaces(("veth*",)).look()
        with suppress(OSError):
            assert KernelCommits.author().name.isprintable()

    check()
    record_property(COUNTED, len(tried))


def test_any_notification_is_skimmed(
    monkeypatch: pytest.MonkeyPatch, extent: Extent, record_property: Record
) -> None:
    class Listening(Scripted):
        def bind(self, _: object) -> None:
            pass

        def setblocking(self, _: object) -> None:
            pass

    tried = []
    monkeypatch.setattr(commits, "new_socket", lambda: Listening([]))
    heard = KernelCommits()

    @tries(extent, 200, 15_000)
    @given(changed_bytes([ANSWERS[4], ANSWERS[4] * 3], (commits.OUR_NAME,)) | st.binary(max_size=100))
    def check(received: bytes) -> None:
        tried.append(received)
        for commit in heard._skim(received):
            assert commit.tables
            assert commit.author.name.isprintable()
        link_news._differs(received, {})
        parts = [list(attributes(message.body)) for message in messages(received)]
        assert len(parts) <= len(received) // HEADER.size + 1

    check()
    record_property(COUNTED, len(tried))


def test_a_socket_that_is_silent_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack, "new_socket", lambda: Scripted([]))
    with pytest.raises(ConnectionsError, match="1 addresses"):
        Conntrack().end(frozenset({OURS}))
