"""Addresses as people write them; and channels that only TLS goes over, straight to where they are told."""

import grpc
import grpc.aio
import pytest

from policy_controller.testing.credentials import SERVER_NAME, Authority
from policy_controller.wire.channel import HostPort, InvalidAddress, new_server, secure_connect, secure_listen
from policy_controller.wire.enforcement_pb2_grpc import EnforcementStub

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


async def test_what_the_environment_says_of_proxies_does_not_lead_enforcers_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    authority, server = Authority(), new_server()
    certificate = authority.certificate()
    port = secure_listen(server, HostPort("127.0.0.1", 0), lambda: certificate)
    await server.start()
    async with secure_connect(HostPort("127.0.0.1", port), authority.trust(SERVER_NAME)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as answer:
            await EnforcementStub(channel).Enforce().read()
    await server.stop(grace=0)
    # The server's own word, so it was reached.
    assert answer.value.code() is grpc.StatusCode.UNIMPLEMENTED
