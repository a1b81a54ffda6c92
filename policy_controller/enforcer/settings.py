"""What the enforcer of a node may be told: the table of its settings.

Knows names, defaults and bounds. Knows nothing of where a value comes from, nor of what it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compilers.model.faults import InvalidField
from compilers.nftables.base import BaseSettings
from compilers.nftables.words import InvalidNftError
from policy_controller.enforcer.api_server import ApiServer, of_environment
from policy_controller.enforcer.credentials import CredentialFiles, Way
from policy_controller.enforcer.gates import UnknownGates, UnknownPods
from policy_controller.logs import LogFormat, LogLevel
from policy_controller.settings import kinds, shared
from policy_controller.settings.table import Derived, Table, optional, setting
from policy_controller.wire.channel import HostPort


def _service(environment: Mapping[str, str]) -> str | None:
    """The operator's Service as Kubernetes tells it to containers: cluster DNS may be waiting for this enforcer."""
    host = environment.get("POLICY_CONTROLLER_SERVICE_HOST")
    port = environment.get("POLICY_CONTROLLER_SERVICE_PORT")
    if not host or not port:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _server_name(environment: Mapping[str, str]) -> str:
    return f"policy-controller.{environment.get('POD_NAMESPACE') or 'policy-controller'}.svc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an enforcer is run. Raises InvalidField."""

    node: str = setting(kinds.NODE_NAME, "Name of this node, as the API has it.", variable="NODE_NAME")
    operator: HostPort = setting(
        kinds.HOST_PORT,
        "Where the operator listens.",
        Derived("the Service: POLICY_CONTROLLER_SERVICE_HOST, POLICY_CONTROLLER_SERVICE_PORT", _service),
    )
    server_name: str = setting(
        kinds.DNS_NAME,
        "The name that the operator's certificate must be made for, whatever address is dialled.",
        Derived("POD_NAMESPACE: policy-controller.NAMESPACE.svc", _server_name),
    )
    ca: Path = setting(
        kinds.FILE,
        "Authorities (PEM) that the operator's certificate must come from; read at every connection, waited for until it is there.",
        "/var/run/policy-controller/ca/ca.crt",
    )
    token: Path = setting(
        kinds.FILE,
        "Token of this pod's service account, for the audience `policy-controller`; read at every connection.",
        "/var/run/policy-controller/token/token",
    )
    state_directory: Path = setting(
        kinds.DIRECTORY,
        "Directory in which the rule set in force is saved: it must outlive this pod, and nobody else may write there.",
        "/var/lib/policy-controller",
    )
    listen: HostPort = setting(
        kinds.HOST_PORT, "Where `/healthz`, `/readyz` and `/metrics` are.", "127.0.0.1:9470"
    )
    api_server: ApiServer = setting(
        kinds.textual("ADDRESS:PORT|none", ApiServer.parse),
        "Where pods call the API server: a new operator may do so while no operator is there to tell who it is.",
        Derived("the Service: KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT", of_environment),
    )
    pod_interfaces: tuple[str, ...] | None = optional(
        kinds.NAMES,
        "Names of the interfaces on which pods are met; `*` at the end matches the rest. Without it they are detected.",
    )
    unknown_pods: UnknownPods = setting(
        kinds.choice(UnknownPods),
        "Addresses that no known pod has, while the operator is out of reach.",
        UnknownPods.DROP.value,
    )
    unknown_wait: float = setting(
        kinds.number("SECONDS", 0),
        "For how long a pod without an address keeps unknown addresses dropped.",
        "30",
    )
    compare_seconds: float = setting(
        kinds.number("SECONDS", 1),
        "Time, more or less, between comparisons of the whole tables with what they should hold; what others change is told of at once.",
        "300",
    )
    log_format: LogFormat = shared.log_format()
    log_level: LogLevel = shared.log_level()
    log_rate: float = shared.log_rate()

    def __post_init__(self) -> None:
        if self.pod_interfaces is not None:
            try:
                BaseSettings(self.pod_interfaces)
            except InvalidNftError as fault:
                raise InvalidField(str(fault), ("podInterfaces",)) from None

    def base(self, interfaces: tuple[str, ...]) -> BaseSettings:
        """What the base of the tables depends on, on a node that meets its pods on these interfaces."""
        return BaseSettings(interfaces, self.api_server.called, self.operator.port)

    @property
    def way(self) -> Way:
        """Where the operator is, and by what it is believed and shown who this is."""
        return Way(self.operator, CredentialFiles(self.ca, self.token, self.server_name))

    @property
    def gates(self) -> UnknownGates:
        """What `unknown_pods` and `unknown_wait` mean for addresses that nobody knows."""
        return UnknownGates(self.unknown_pods, self.unknown_wait)


TABLE: Final = Table("policy-enforcer", "ENFORCER", Settings)
