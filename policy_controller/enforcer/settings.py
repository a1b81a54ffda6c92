"""What the enforcer of a node may be told, in one value.

Knows names and bounds of settings. Knows nothing of flags (main.py) or of what a setting does.
"""

from dataclasses import dataclass

from compilers.model.faults import InvalidField
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.wire import legal
from policy_controller.wire.channel import socket_path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where health and metrics listen; port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """`127.0.0.1:9470` or `[::1]:9470`; raises ValueError for anything else."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{text!r} is not HOST:PORT")
        return cls(host, int(port))


@dataclass(frozen=True, slots=True)
class Settings:
    """Raises InvalidField or InvalidAddress. `pod_interfaces` None: detected from the node's links at start."""

    node: str
    operator: str
    listen: Endpoint
    pod_interfaces: tuple[str, ...] | None
    gates: UnknownGates

    def __post_init__(self) -> None:
        try:
            legal.subdomain(self.node)
        except InvalidField as fault:
            raise fault.under(("node",)) from None
        socket_path(self.operator)
