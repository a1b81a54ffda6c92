"""What the operator may be told: the table of its settings.

Knows names, defaults and bounds. Knows nothing of where a value comes from, nor of what it does.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compilers.compile.room import CLASS, NODE, Room, Rooms
from compilers.model.faults import InvalidField
from policy_controller.controller.bounds import MOST_CONNECTIONS, MOST_REVIEWS
from policy_controller.controller.health import admin_address
from policy_controller.logs import LogFormat, LogLevel
from policy_controller.settings import kinds, shared
from policy_controller.settings.table import Table, optional, setting, up_to
from policy_controller.wire.channel import HostPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the operator is run. Raises InvalidField."""

    kubeconfig: str | None = optional(
        kinds.TEXT,
        "Credentials file; without it `~/.kube/config` or the pod's service account.",
        variable="KUBECONFIG",
    )
    listen: HostPort = setting(kinds.HOST_PORT, "Where enforcers connect.", "[::]:9473")
    health: HostPort = setting(
        kinds.HOST_PORT,
        "Where `/healthz`, `/readyz` and `/metrics` are, for kubelet and Prometheus; no names of tenants' objects.",
        "[::]:9472",
    )
    admin: HostPort = setting(
        kinds.textual("127.0.0.1:PORT", admin_address),
        "Where `/status` is, and the same as on `health`: only on loopback, so that a port-forward asks who one is.",
        "127.0.0.1:9471",
    )
    namespace: str = setting(
        kinds.NAMESPACE,
        "Namespace of this installation: of its Secret, its ConfigMaps and both service accounts.",
        "policy-controller",
        variable="POD_NAMESPACE",
    )
    account: str = setting(
        kinds.ACCOUNT,
        "Service account that the operator runs as; no policy isolates pods that run as it.",
        "policy-controller",
    )
    enforcer_account: str = setting(
        kinds.ACCOUNT, "Service account that enforcers prove to run as.", "policy-enforcer"
    )
    tls_cert: Path | None = optional(
        kinds.FILE,
        "Certificate chain (PEM) of your own, read anew when it changes; without it the operator makes a CA of its own.",
    )
    tls_key: Path | None = optional(kinds.FILE, "Private key (PEM) of `tlsCert`.")
    relist_seconds: float = setting(
        kinds.number("SECONDS", 1),
        "Time between comparisons of the whole cluster with what its events told.",
        "300",
    )
    debounce_ms: float = setting(
        kinds.number("MILLISECONDS", 0, 200),
        "How long changes must pause before rule sets are compiled; 200 ms after the first they are anyway.",
        "20",
    )
    max_connections: int = setting(
        kinds.whole("CONNECTIONS", 64, 32_768),
        "Connections of nobody who is known yet that the port of nodes may have; more than the cluster has nodes. Of more, the oldest of whoever has most end.",
        str(MOST_CONNECTIONS),
    )
    max_token_reviews: int = setting(
        kinds.whole("REQUESTS", 1, 1_000),
        "Tokens that the API server is asked about at a time; others wait.",
        str(MOST_REVIEWS),
    )
    max_pod_policies: int = up_to(
        CLASS.policies,
        "POLICIES",
        "Policies that may select one pod in one direction; of more, that direction of the pod admits nothing.",
    )
    max_pod_rules: int = up_to(
        CLASS.rules, "RULES", "Rules that these policies may have together; beyond, as above."
    )
    max_node_policies: int = up_to(
        NODE.policies,
        "POLICIES",
        "Policies of all pods of a node, each counted for every kind of pods it selects; beyond, what takes up most admits nothing.",
    )
    max_node_rules: int = up_to(
        NODE.rules, "RULES", "Rules of all pods of a node together; beyond, as above."
    )
    max_node_sets: int = up_to(
        NODE.sets,
        "SETS",
        "Different selectors, blocks and port names of all pods of a node; beyond, as above.",
    )
    max_node_addresses: int = up_to(
        NODE.elements, "ADDRESSES", "Addresses of all peers of a node; beyond, as above."
    )
    max_node_ranges: int = up_to(
        NODE.ranges, "RANGES", "Ranges of addresses in ipBlocks of a node; beyond, as above."
    )
    log_format: LogFormat = shared.log_format()
    log_level: LogLevel = shared.log_level()
    log_rate: float = shared.log_rate()

    def __post_init__(self) -> None:
        for given, missing, name in (
            (self.tls_cert, self.tls_key, "tlsKey"),
            (self.tls_key, self.tls_cert, "tlsCert"),
        ):
            if given is not None and missing is None:
                raise InvalidField("is missing: a certificate and its key go together", (name,))

    @property
    def rooms(self) -> Rooms:
        """How much the policies of a pod and of a node may take up. One class has half of what a node has, at most."""
        node = Room(
            policies=self.max_node_policies,
            rules=self.max_node_rules,
            sets=self.max_node_sets,
            elements=self.max_node_addresses,
            ranges=self.max_node_ranges,
        )
        of_class = Room(
            policies=min(self.max_pod_policies, node.policies),
            rules=min(self.max_pod_rules, node.rules),
            sets=min(CLASS.sets, -(-node.sets // 2)),
            elements=min(CLASS.elements, -(-node.elements // 2)),
            ranges=min(CLASS.ranges, -(-node.ranges // 2)),
        )
        return Rooms(of_class, node)

    @property
    def debounce_seconds(self) -> float:
        """`debounce_ms` in the unit of clocks."""
        return self.debounce_ms / 1000


TABLE: Final = Table("policy-controller", "OPERATOR", Settings)
