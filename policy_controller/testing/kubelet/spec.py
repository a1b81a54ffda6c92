"""Pod specs as this kubelet reads them: what it plays, and what it knows but leaves to a real cluster.

Knows the API's fields. A field that is in no type here is refused by name (SpecError): nothing that a manifest says is
silently left out. Values are typed `Unplayed` where it makes no difference on one machine.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

Unplayed = Any
"""Any JSON value: accepted, and without effect here."""


class SpecError(Exception):
    """The pod asks for something that is not played here, or that no kubelet would start; the text says which field."""


class Played(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """The base of all types here."""


class Capabilities(Played, frozen=True):
    """Capabilities."""

    add: list[str] = []
    drop: list[str] = []


class ContainerSecurity(Played, frozen=True):
    """SecurityContext of a container."""

    allow_privilege_escalation: bool = True
    capabilities: Capabilities = msgspec.field(default_factory=Capabilities)
    privileged: bool = False
    read_only_root_filesystem: bool = False
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    seccomp_profile: Unplayed = None


class PodSecurity(Played, frozen=True):
    """PodSecurityContext."""

    fs_group: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    run_as_user: int | None = None
    seccomp_profile: Unplayed = None
    supplemental_groups: list[int] = []


class FieldRef(Played, frozen=True):
    """ObjectFieldSelector."""

    field_path: str
    api_version: str = "v1"


class KeyRef(Played, frozen=True):
    """ConfigMapKeySelector and SecretKeySelector."""

    key: str
    name: str = ""
    optional: bool = False


class ValueFrom(Played, frozen=True):
    """EnvVarSource."""

    field_ref: FieldRef | None = None
    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None


class Variable(Played, frozen=True):
    """EnvVar."""

    name: str
    value: str = ""
    value_from: ValueFrom | None = None


class HttpGet(Played, frozen=True):
    """HTTPGetAction."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: str = "HTTP"
    http_headers: Unplayed = None


class TcpSocket(Played, frozen=True):
    """TCPSocketAction."""

    port: int | str
    host: str = ""


class Probe(Played, frozen=True):
    """Probe; times in seconds."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    initial_delay_seconds: float = 0
    period_seconds: float = 10
    timeout_seconds: float = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class ContainerPort(Played, frozen=True):
    """ContainerPort."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"
    host_port: Unplayed = None


class VolumeMount(Played, frozen=True):
    """VolumeMount."""

    name: str
    mount_path: str
    read_only: bool = False


class Container(Played, frozen=True):
    """Container."""

    name: str
    image: str
    command: list[str] = []
    args: list[str] = []
    env: list[Variable] = []
    liveness_probe: Probe | None = None
    ports: list[ContainerPort] = []
    readiness_probe: Probe | None = None
    security_context: ContainerSecurity = msgspec.field(default_factory=ContainerSecurity)
    startup_probe: Probe | None = None
    volume_mounts: list[VolumeMount] = []
    working_dir: str = ""
    image_pull_policy: Unplayed = None
    resources: Unplayed = None
    termination_message_path: Unplayed = None
    termination_message_policy: Unplayed = None


class KeyToPath(Played, frozen=True):
    """KeyToPath."""

    key: str
    path: str
    mode: int | None = None


class Keys(Played, frozen=True):
    """The content of a ConfigMap or Secret as a volume, or as a source of one. Secrets as volumes say `secretName`."""

    name: str = ""
    secret_name: str = ""
    items: list[KeyToPath] | None = None
    optional: bool = False
    default_mode: int = 0o644

    @property
    def of(self) -> str:
        """The object's name."""
        return self.secret_name or self.name


class TokenSource(Played, frozen=True):
    """ServiceAccountTokenProjection."""

    path: str
    audience: str = ""
    expiration_seconds: int = 3600


class FieldFile(Played, frozen=True):
    """DownwardAPIVolumeFile."""

    path: str
    field_ref: FieldRef
    mode: int | None = None


class FieldFiles(Played, frozen=True):
    """DownwardAPIProjection."""

    items: list[FieldFile] = []


class Source(Played, frozen=True):
    """VolumeProjection."""

    config_map: Keys | None = None
    downward_api: FieldFiles | None = msgspec.field(default=None, name="downwardAPI")
    secret: Keys | None = None
    service_account_token: TokenSource | None = None


class Projected(Played, frozen=True):
    """ProjectedVolumeSource."""

    sources: list[Source] = []
    default_mode: int = 0o644


class HostPath(Played, frozen=True):
    """HostPathVolumeSource."""

    path: str
    type: str = ""


class EmptyDir(Played, frozen=True):
    """EmptyDirVolumeSource."""

    medium: Unplayed = None
    size_limit: Unplayed = None


class Volume(Played, frozen=True):
    """Volume."""

    name: str
    config_map: Keys | None = None
    empty_dir: EmptyDir | None = None
    host_path: HostPath | None = None
    projected: Projected | None = None
    secret: Keys | None = None


class PodSpec(Played, frozen=True):
    """PodSpec."""

    containers: list[Container]
    automount_service_account_token: bool | None = None
    enable_service_links: bool = True
    host_network: bool = False
    node_name: str = ""
    node_selector: Mapping[str, str] = {}
    restart_policy: str = "Always"
    security_context: PodSecurity = msgspec.field(default_factory=PodSecurity)
    service_account_name: str = "default"
    termination_grace_period_seconds: float = 30
    volumes: list[Volume] = []
    dns_policy: Unplayed = None
    priority_class_name: Unplayed = None
    scheduler_name: Unplayed = None
    service_account: Unplayed = None
    tolerations: Unplayed = None


def read_pod_spec(tree: object) -> PodSpec:
    """The spec of a pod, or of a template. Raises SpecError."""
    try:
        spec = msgspec.convert(tree, PodSpec)
    except msgspec.ValidationError as fault:
        raise SpecError(f"spec: {fault}") from fault
    mounts = {mount.name for container in spec.containers for mount in container.volume_mounts}
    unknown = mounts - {volume.name for volume in spec.volumes}
    if unknown:
        raise SpecError(f"spec.containers: there is no volume {', '.join(sorted(unknown))}")
    for container in spec.containers:
        if container.security_context.privileged:
            raise SpecError(f"container {container.name}: privileged containers are not played")
    return spec


DEFAULT_CAPABILITIES: Final = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
"""Those that containerd gives a container that says nothing."""

CAPABILITIES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
"""By number (include/uapi/linux/capability.h), without CAP_."""


class Rights(msgspec.Struct, frozen=True):
    """As whom a container runs. Sources: the API's SecurityContext; capabilities are numbers."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: tuple[int, ...]
    no_new_privileges: bool
    read_only_root: bool


def rights_of(pod: PodSecurity, container: ContainerSecurity, image_user: int) -> Rights:
    """Raises SpecError when the container must not be root and would be."""
    uid = _first(container.run_as_user, pod.run_as_user, image_user)
    gid = _first(container.run_as_group, pod.run_as_group, 0)
    # API: "If true, the Kubelet will validate the image at runtime to ensure that it does not run as UID 0 (root) and fail
    # to start the container if it does."
    if uid == 0 and _first(container.run_as_non_root, pod.run_as_non_root, False):
        raise SpecError("container has runAsNonRoot and image will run as root")
    groups = {*pod.supplemental_groups, *((pod.fs_group,) if pod.fs_group is not None else ())}
    return Rights(
        uid=uid,
        gid=gid,
        groups=tuple(sorted(groups)),
        capabilities=_capabilities(container.capabilities),
        no_new_privileges=not container.allow_privilege_escalation,
        read_only_root=container.read_only_root_filesystem,
    )


def _capabilities(said: Capabilities) -> tuple[int, ...]:
    named = set() if "ALL" in said.drop else set(DEFAULT_CAPABILITIES) - set(said.drop)
    named |= set(CAPABILITIES) if "ALL" in said.add else set(said.add)
    unknown = named - set(CAPABILITIES)
    if unknown:
        raise SpecError(f"there is no capability {', '.join(sorted(unknown))}")
    return tuple(sorted(CAPABILITIES.index(name) for name in named))


def _first(*values: Any) -> Any:  # noqa: ANN401 - whichever of several types
    return next(value for value in values if value is not None)
