"""By which address and port pods call the API server: a setting of the enforcer, which itself never does.

Knows how the setting is written and what Kubernetes puts into the environment. Knows nothing of rules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from compilers.model.words import Address
from policy_controller.wire.channel import HostPort, InvalidAddress

UNKNOWN: Final = "none"


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The address and port of its Service; None: nobody knows."""

    called: tuple[Address, int] | None = None

    @classmethod
    def parse(cls, text: str) -> "ApiServer":
        """`10.96.0.1:443`, `[fd00::1]:443` or `none`; raises InvalidAddress for anything else, names too."""
        if text == UNKNOWN:
            return cls()
        where = HostPort.parse(text)
        try:
            called = (ip_address(where.host), where.port)
        except ValueError:
            raise InvalidAddress(
                f"{text!r} names no address: rules know connections by their addresses"
            ) from None
        if not where.port:
            raise InvalidAddress(f"{text!r}: 0 is no port that can be called")
        return cls(called)

    def __str__(self) -> str:
        return UNKNOWN if self.called is None else str(HostPort(str(self.called[0]), self.called[1]))


def of_environment(environment: Mapping[str, str]) -> str:
    """As Kubernetes tells it to every container: what the operator's pod is told, too.

    Some providers put a name there, which has no place in a rule.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return UNKNOWN
    try:
        return str(ApiServer.parse(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    except InvalidAddress:
        return UNKNOWN
