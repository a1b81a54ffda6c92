"""Who may talk to whom over what: the one place for transport security and the options of both ends.

Addresses are `unix:///path` only: the file's directory and mode say who may connect. Credentials of other transports
belong here, and nothing else has to know of them.
"""

from pathlib import Path
from typing import Final

import grpc.aio

from policy_controller.wire.limits import LIMITS

SCHEME: Final = "unix://"
LONGEST_PATH: Final = 107
"""Bytes of a Unix socket's path (unix(7): sun_path holds 108, the last is 0)."""

OPTIONS: Final = (
    # The reader refuses what is larger than the limit by name; gRPC's own cap only keeps memory bounded.
    ("grpc.max_receive_message_length", LIMITS.message_bytes + (1 << 20)),
    ("grpc.max_send_message_length", LIMITS.message_bytes + (1 << 20)),
    # A peer that vanished without a word is found within a minute, also when nothing is to be said.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 15_000),
    # The sessions reconnect by their own backoff; gRPC's would hide it.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class InvalidAddress(ValueError):  # noqa: N818 - as InvalidField
    """An address to listen on or connect to that is not accepted; the text says why."""


def socket_path(address: str) -> Path:
    """The path of a `unix:///path` address; raises InvalidAddress for any other."""
    path = address.removeprefix(SCHEME)
    if path == address or not path.startswith("/"):
        raise InvalidAddress(f"{address!r} is not of the form unix:///path")
    if len(path.encode()) > LONGEST_PATH:
        raise InvalidAddress(f"the path of {address!r} is longer than {LONGEST_PATH} bytes")
    return Path(path)


def connect(address: str) -> grpc.aio.Channel:
    """A channel to the operator; it connects when it is used. Raises InvalidAddress."""
    socket_path(address)
    return grpc.aio.insecure_channel(address, options=OPTIONS)


def listen(server: grpc.aio.Server, address: str) -> None:
    """Make the server listen; a socket file that a dead server left is taken over. Raises InvalidAddress."""
    path = socket_path(address)
    path.parent.mkdir(parents=True, exist_ok=True)
    server.add_insecure_port(address)


def new_server() -> grpc.aio.Server:
    """A server with the options of this protocol; add a servicer, listen, then start it."""
    return grpc.aio.server(options=OPTIONS)
