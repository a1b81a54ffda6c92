"""Ports: what a rule admits, and the names containers give to numbers.

Knows protocols and port numbers. Knows nothing of pods: who resolves a name brings the pod's ports.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from compilers.model.faults import InvalidField
from compilers.model.selector import quoted
from compilers.model.words import Protocol

LAST_PORT: Final = 65535
_PORT_NAME: Final = re.compile(r"(?=.*[a-z])[a-z0-9](?:-?[a-z0-9])*")


def check_port_number(number: int) -> None:
    """Raise InvalidField unless 1 <= number <= 65535."""
    if not 1 <= number <= LAST_PORT:
        raise InvalidField(f"{number} is not a port: must be between 1 and {LAST_PORT}")


def check_port_name(name: str) -> None:
    """Raise InvalidField unless `name` is an IANA service name (RFC 6335 section 5.1, as the API server checks it)."""
    if len(name) > 15 or not _PORT_NAME.fullmatch(name):
        raise InvalidField(
            f"{quoted(name)} is not a port name: at most 15 lower-case letters, digits and single '-' between them, "
            "with at least one letter"
        )


@dataclass(frozen=True, slots=True)
class PortMatch:
    """One entry of a rule's `ports` (networking/v1 NetworkPolicyPort).

    API: `protocol` "If not specified, this field defaults to TCP"; `port` "If this field is not provided, this matches
    all port names and numbers"; `endPort` "indicates that the range of ports from port to endPort if set, inclusive".
    The parser applies the default of `protocol`.
    """

    protocol: Protocol
    port: int | str | None = None
    end_port: int | None = None

    def __post_init__(self) -> None:
        try:
            if isinstance(self.port, int):
                check_port_number(self.port)
            elif isinstance(self.port, str):
                check_port_name(self.port)
        except InvalidField as fault:
            raise fault.under(("port",)) from None
        if self.end_port is None:
            return
        # API: "This field cannot be defined if the port field is not defined or if the port field is defined as a
        # named (string) port. The endPort must be equal or greater than port."
        if not isinstance(self.port, int):
            raise InvalidField("needs a numeric port beside it", ("endPort",))
        if not self.port <= self.end_port <= LAST_PORT:
            raise InvalidField(
                f"{self.end_port} must be between port {self.port} and {LAST_PORT}", ("endPort",)
            )

    @property
    def interval(self) -> tuple[int, int] | None:
        """First and last port number, inclusive; None when the port is absent or a name."""
        if not isinstance(self.port, int):
            return None
        return self.port, self.port if self.end_port is None else self.end_port

    def __str__(self) -> str:
        if self.port is None:
            return self.protocol.value
        end = f"-{self.end_port}" if self.end_port is not None else ""
        return f"{self.protocol.value} {self.port}{end}"


@dataclass(frozen=True, slots=True, order=True)
class NamedPort:
    """A name that a pod's container gives to a number with a protocol. (name, protocol) decides; numbers may differ."""

    name: str
    protocol_name: str
    number: int

    @property
    def protocol(self) -> Protocol:
        """The protocol the name stands for."""
        return Protocol(self.protocol_name)


def numbers_of(name: str, protocol: Protocol, ports: Iterable[NamedPort]) -> tuple[int, ...]:
    """All numbers that `ports` give this name with this protocol, sorted; empty when there is no such name."""
    return tuple(
        sorted({port.number for port in ports if port.name == name and port.protocol_name == protocol.value})
    )
