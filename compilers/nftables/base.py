"""The static base of both tables, read from the templates' text, and what closes its slots.

Knows the chains that the templates promise to have. Is given the text: it reads no file, and no pod is known here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from compilers.model.words import PROTOCOLS, Address, Direction, Protocol
from compilers.nftables.expressions import (
    DROP,
    RETURN,
    AnonymousSet,
    Comparison,
    Counter,
    Match,
    distinct,
    jump,
)
from compilers.nftables.reader import read
from compilers.nftables.references import problems
from compilers.nftables.table import Rule, Table
from compilers.nftables.words import Field, InvalidNftError, TableFamily, checked_interface

TABLE: Final = "policy-controller"
"""Name of the table in both families."""

PLAIN_FRAMES: Final = (0x0800, 0x0806, 0x86DD)

CLOSED_LINK_LOCAL: Final = (Rule((Counter(),)), Rule((DROP,)))
"""Content of slot `link-local` once a pod of the node is isolated."""

CLOSED_TO_MANY: Final = (Rule((Counter(),)), Rule((DROP,)))
"""Content of slot `to-many` once the ingress of a pod of the node is isolated."""

CLOSED_TUNNEL: Final = (Rule((Counter(),)), Rule((DROP,)))
"""Content of slot `tunnel` once a pod of the node is isolated."""

CLOSED_FRAMES: Final = (
    Rule((Match((Field.ETHER_TYPE,), AnonymousSet(PLAIN_FRAMES), Comparison.NOT_EQUAL), Counter(), DROP)),
)
"""Content of slot `frames` of the bridge table once a pod of the node is isolated."""

CLOSED_UNKNOWN: Final = (Rule((Counter(),)), Rule((jump("log-unknown"),)), Rule((DROP,)))
"""Content of slot `unknown-ingress` or `unknown-egress` while that direction drops unknown addresses.

The drop is a rule of its own, so that it does not depend on the log."""

# Slots that the rest of the project fills; a template without one of them is refused.
SLOTS: Final = {
    TableFamily.INET: frozenset({"unknown-egress", "unknown-ingress", "link-local", "to-many", "tunnel"}),
    TableFamily.BRIDGE: frozenset({"frames"}),
}


OPERATOR_PORT: Final = 9473
"""Where the operator's pods listen for enforcers."""
TCP: Final = PROTOCOLS[Protocol.TCP].number
ORIGINAL_DESTINATION: Final = {4: Field.ORIGINAL_IP_DESTINATION, 6: Field.ORIGINAL_IP6_DESTINATION}


@dataclass(frozen=True, slots=True)
class BaseSettings:
    """What an operator of a node may set in the base.

    `pod_interfaces`: names on which this node meets its pods, or starts of names followed by `*`; at least one.
    `api_server`: address and port by which pods call the API server, which is its Service's; None when nobody knows.
    `operator_port`: the TCP port on which pods of the operator listen.
    """

    pod_interfaces: tuple[str, ...] = ("cni0", "cali*")
    api_server: tuple[Address, int] | None = None
    operator_port: int = OPERATOR_PORT

    def __post_init__(self) -> None:
        """Check the alphabet (these become nft text), and refuse none, duplicates and `*` alone."""
        if not self.pod_interfaces:
            raise InvalidNftError(
                "pod interfaces", "at least one is needed: no gate would know what a pod is"
            )
        if len(set(self.pod_interfaces)) != len(self.pod_interfaces):
            raise InvalidNftError("pod interfaces", "one is named twice")
        for pattern in self.pod_interfaces:
            checked_interface(pattern)
        ports = (self.operator_port,) if self.api_server is None else (self.operator_port, self.api_server[1])
        if not all(0 < port < 65536 for port in ports):
            raise InvalidNftError("ports", "are from 1 to 65535")


@dataclass(frozen=True, slots=True)
class Base:
    """Both tables as they are before the node's rule set fills maps, sets and slots.

    `closed_untold`: content of the slots for unknown addresses while they are closed and nobody tells the node who its
    new pods are. One of them may be the operator, without whom nobody ever will: so these let the control path pass.
    `elsewhere`: returns what does not come from a pod of this node (egress), or does not go to one (ingress).
    """

    inet: Table
    bridge: Table
    closed_untold: Mapping[Direction, tuple[Rule, ...]]
    elsewhere: Mapping[Direction, Rule]


def _control_path(settings: BaseSettings) -> Iterator[tuple[Direction, Rule]]:
    """What an operator's pod needs of a node that does not know it, as rules that return past the drop."""
    tcp = Match((Field.PROTOCOL,), TCP)
    if settings.api_server is not None:
        # By what the pod has called: who answers, kube-proxy has chosen before the packet comes here.
        address, port = settings.api_server
        called = Match((ORIGINAL_DESTINATION[address.version],), address)
        yield Direction.EGRESS, Rule((tcp, called, Match((Field.ORIGINAL_PORT,), port), RETURN))
    # Enforcers of other nodes come from outside, the node's own through `output`: never from a pod of this node.
    elsewhere = _no_pod_interface(settings, Field.IN_INTERFACE)
    yield Direction.INGRESS, Rule((elsewhere, Match((Field.TCP_PORT,), settings.operator_port), RETURN))


def _no_pod_interface(settings: BaseSettings, field: Field) -> Match:
    patterns = distinct(settings.pod_interfaces)
    operand = patterns[0] if len(patterns) == 1 else AnonymousSet(patterns)
    return Match((field,), operand, Comparison.NOT_EQUAL)


def _elsewhere(settings: BaseSettings) -> dict[Direction, Rule]:
    fields = {Direction.INGRESS: Field.OUT_INTERFACE, Direction.EGRESS: Field.IN_INTERFACE}
    return {
        direction: Rule((_no_pod_interface(settings, field), RETURN)) for direction, field in fields.items()
    }


def _closed_untold(settings: BaseSettings) -> dict[Direction, tuple[Rule, ...]]:
    passing = list(_control_path(settings))
    return {
        direction: (*(rule for one, rule in passing if one is direction), *CLOSED_UNKNOWN)
        for direction in Direction
    }


def _defines(settings: BaseSettings) -> str:
    quoted = ", ".join(f'"{pattern}"' for pattern in sorted(settings.pod_interfaces))
    return f"define pod_interfaces = {{ {quoted} }}\n"


def _checked(table: Table, family: TableFamily) -> Table:
    what = f"template {family.value}"
    if (table.family, table.name) != (family, TABLE):
        raise InvalidNftError(what, f"declares table {table.identity}, not {family.value} {TABLE}")
    for problem in problems(table):
        raise InvalidNftError(what, str(problem))
    empty = {chain.name for chain in table.chains if chain.hook is None and not chain.rules}
    for slot in sorted(SLOTS[family] - empty):
        raise InvalidNftError(what, f"has no empty chain {slot}")
    return table


def base_tables(inet_text: str, bridge_text: str, settings: BaseSettings) -> Base:
    """Return the base of both tables with the settings put before the templates' own defines.

    Raises ReadError for text outside the language and InvalidNftError for a template that lacks its slots.
    """
    defines = _defines(settings)
    return Base(
        _checked(read(defines + inet_text), TableFamily.INET),
        _checked(read(defines + bridge_text), TableFamily.BRIDGE),
        _closed_untold(settings),
        _elsewhere(settings),
    )
