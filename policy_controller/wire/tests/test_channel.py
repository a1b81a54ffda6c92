"""Addresses as people write them."""

import pytest

from policy_controller.wire.channel import HostPort, InvalidAddress

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
