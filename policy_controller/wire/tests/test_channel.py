"""Addresses as people write them, and what gRPC is told of certificates."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from policy_controller.wire.channel import Certificate, HostPort, InvalidAddress, secure_listen

ADDRESSES = {
    "10.96.0.7:9473": HostPort("10.96.0.7", 9473),
    "[fd00::7]:9473": HostPort("fd00::7", 9473),
    "[::]:0": HostPort("::", 0),
    "policy-controller.example:65535": HostPort("policy-controller.example", 65535),
}
NO_ADDRESSES = (
    "",
    "10.96.0.7",
    ":9473",
    "[]:9473",
    "10.96.0.7:",
    "10.96.0.7:https",
    "10.96.0.7:٣",
    "10.96.0.7:65536",
    "fd00::7:9473",
    "[10.96.0.7]:9473",
    "[fd00::7",
    "[fd00::x]:9473",
    "unix:///run/operator.sock",
)


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_a_host_and_a_port_and_is_shown_as_it_was_written(text: str) -> None:
    assert HostPort.parse(text) == ADDRESSES[text]
    assert str(ADDRESSES[text]) == text


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(InvalidAddress):
        HostPort.parse(text)


class Listening:
    """The part of a server that is told where to listen."""

    def add_secure_port(self, address: str, credentials: object) -> int:
        assert credentials is not None
        return int(address.rpartition(":")[2])


def test_grpc_is_told_of_a_certificate_only_when_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told so at every handshake it frees what handshakes on other threads use, and the process ends (secure_listen)."""
    asked: list[Callable[[], object]] = []

    def caught(
        first: object, fetcher: Callable[[], object], *, require_client_authentication: bool
    ) -> object:
        assert not require_client_authentication
        asked.append(fetcher)
        return first

    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", caught)
    shown = [Certificate(b"key", b"chain")]
    server: Any = Listening()
    assert secure_listen(server, HostPort("127.0.0.1", 1), lambda: shown[-1]) == 1
    (fetcher,) = asked
    assert [fetcher() for _ in range(3)] == [None, None, None]
    shown.append(Certificate(b"key", b"another"))
    assert fetcher() is not None
    assert fetcher() is None
