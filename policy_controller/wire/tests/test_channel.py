"""Addresses as people write them, and when a server is given a certificate."""

from collections.abc import Callable

import grpc
import grpc.aio
import pytest

from policy_controller.wire.channel import Certificate, HostPort, InvalidAddress, new_server, secure_listen

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


async def test_a_certificate_is_handed_over_once_and_again_when_it_is_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each time gRPC frees the one before, also while a handshake takes it."""
    fetchers = list[Callable[[], grpc.ServerCertificateConfiguration | None]]()

    def made(
        _: object, fetcher: Callable[[], grpc.ServerCertificateConfiguration | None], **__: object
    ) -> grpc.ServerCredentials:
        fetchers.append(fetcher)
        return grpc.local_server_credentials()

    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", made)
    shown = Certificate(b"key", b"chain")
    secure_listen(new_server(), HostPort("127.0.0.1", 0), lambda: shown)
    (fetch,) = fetchers
    assert [fetch(), fetch()] == [None, None]
    shown = Certificate(b"key", b"another chain")
    assert fetch() is not None
    assert fetch() is None
