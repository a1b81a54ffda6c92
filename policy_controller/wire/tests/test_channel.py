"""Only Unix sockets, until there are credentials for anything else."""

from pathlib import Path

import pytest

from policy_controller.wire.channel import InvalidAddress, connect, socket_path


def test_the_path_of_a_unix_address_is_its_socket() -> None:
    assert socket_path("unix:///run/policy/operator.sock") == Path("/run/policy/operator.sock")


@pytest.mark.parametrize(
    "address",
    ["", "unix://", "unix:/run/x", "unix://run/x", "127.0.0.1:80", "dns:///x", "unix:///" + "x" * 107],
)
async def test_any_other_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidAddress):
        connect(address)
