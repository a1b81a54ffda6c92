"""Who may talk to whom over what: the one place for transport security and the options of both ends.

Knows TLS and gRPC's channels. Knows nothing of tokens (they travel in the call) or of where certificates come from.

Between machines there is only TLS: the server proves itself with a certificate, the client by the token it sends. The
client asks for the server by a fixed name, because the address it dials (a Service's) may be any.
"""

import ipaddress
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import grpc
import grpc.aio

from policy_controller.wire.limits import LIMITS

KEEPALIVE: Final = (
    # A peer that vanished without a word is found within a minute, also when nothing is to be said.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 15_000),
)
OPERATOR_BYTES: Final = LIMITS.message_bytes + (1 << 20)
"""Of a message of the operator. The reader refuses what is larger than the limit by name; this only bounds memory."""
NODE_BYTES: Final = 1 << 18
"""Of a message of a node: the longest, a token, has 16 KiB. One node must not use up the operator's memory."""
HEADER_BYTES: Final = 20 << 10
"""Of what a call says of itself: a token has at most 16 KiB. The operator refuses more by name."""
MOST_HEADER_BYTES: Final = 32 << 10
"""Of the same; what has more does not get as far. (By its own defaults gRPC refuses what has more than 8 KiB by chance.)"""
OPTIONS: Final = (
    *KEEPALIVE,
    ("grpc.max_receive_message_length", OPERATOR_BYTES),
    # The sessions reconnect by their own backoff; gRPC's would hide it.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
"""Of a client."""
IDLE_SECONDS: Final = 5.0
"""How long a connection may have no stream; an enforcer's has one at once. Whoever reaches the port may open any number
of connections, and this makes it a task to keep them. gRPC's own bound (max_allowed_incoming_connections) is of
no use: seen with 1.85, the places of closed connections are not given back, and in the end nobody gets in."""
AUTHORIZATION: Final = "authorization"
"""The call's metadata that hold `Bearer TOKEN`."""
BEARER: Final = "Bearer "
AUDIENCE: Final = "policy-controller"
"""Whom the tokens of enforcers are for; a token for somebody else, the API server too, is refused."""


class InvalidAddress(ValueError):  # noqa: N818 - as InvalidField
    """An address to listen on or connect to that is not accepted; the text says why."""


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where a server listens; port 0 lets the system choose. An IPv6 host is written without brackets here."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "HostPort":
        """`10.96.0.7:9473`, `[fd00::7]:9473` or `name:9473`; raises InvalidAddress for anything else."""
        host, colon, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        if not colon or not bare or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise InvalidAddress(f"{text!r} is not of the form HOST:PORT")
        if (":" in bare) != (host != bare):
            raise InvalidAddress(f"{text!r}: an IPv6 address is written in brackets, and nothing else is")
        if ":" in bare and not _is_ipv6(bare):
            raise InvalidAddress(f"{text!r} has no IPv6 address in its brackets")
        return cls(bare, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom a client believes: servers that prove, by a certificate of one of these authorities, to have this name."""

    authorities: bytes
    """PEM, one certificate or several."""
    server_name: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a server proves itself with: both PEM, the chain with the server's own certificate first."""

    key: bytes = field(repr=False)
    chain: bytes


def secure_connect(address: HostPort, trust: Trust) -> grpc.aio.Channel:
    """A channel to the operator; it connects when it is used."""
    credentials = grpc.ssl_channel_credentials(root_certificates=trust.authorities)
    own = (
        ("grpc.ssl_target_name_override", trust.server_name),
        # gRPC would follow variables like https_proxy, and no proxy leads to a Service.
        ("grpc.enable_http_proxy", 0),
    )
    return grpc.aio.secure_channel(str(address), credentials, options=(*OPTIONS, *own))


def secure_listen(server: grpc.aio.Server, address: HostPort, certificate: Callable[[], Certificate]) -> int:
    """Make the server listen; returns the port. Raises RuntimeError when it cannot.

    `certificate` is called at every handshake, from a thread of gRPC's: a certificate that has been renewed is shown to
    new clients, and open streams go on.
    """
    shown, changing = certificate(), threading.Lock()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        # None is "the same". gRPC 1.85 puts another into the place of the one that handshakes on other threads are using, and
        # nothing keeps it from being freed under them (grpc issue 36693): told so at every handshake, a few hundred connections at once end the process.
        nonlocal shown
        now = certificate()
        with changing:
            if now == shown:
                return None
            shown = now
        return _configuration(now)

    # Clients prove themselves by tokens; a certificate of theirs is not asked for and would not be looked at.
    credentials = grpc.dynamic_ssl_server_credentials(
        _configuration(shown),
        changed,  # type: ignore[arg-type] # None is allowed: the stubs do not know
        require_client_authentication=False,
    )
    return server.add_secure_port(str(address), credentials)


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(certificate.key, certificate.chain)])


def new_server() -> grpc.aio.Server:
    """A server with the options of this protocol; add a servicer, listen, then start it.

    Who has not proved anything yet may hold little, and not for long.
    """
    own = (
        ("grpc.max_receive_message_length", NODE_BYTES),
        ("grpc.max_send_message_length", OPERATOR_BYTES),
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", int(IDLE_SECONDS * 1000)),
        ("grpc.max_concurrent_streams", 8),
        ("grpc.max_metadata_size", MOST_HEADER_BYTES),
        ("grpc.absolute_max_metadata_size", MOST_HEADER_BYTES),
    )
    return grpc.aio.server(options=(*KEEPALIVE, *own))


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
