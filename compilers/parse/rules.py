"""The rules of one direction: peers, ports and blocks.

Knows what networking/v1 allows in a rule. Knows nothing of subjects or of policyTypes.
Absent and empty lists are kept apart: None is absent, () is empty.
"""

from typing import Final

from compilers.model.block import IpBlock
from compilers.model.faults import InvalidField
from compilers.model.policy import Peer, PolicyRule, SelectorPeer
from compilers.model.port import PortMatch, check_port_name, check_port_number
from compilers.model.selector import quoted
from compilers.model.words import Direction, Network, Protocol
from compilers.parse.addresses import read_network
from compilers.parse.bounds import MOST_COMBINATIONS, MOST_VALUES, combinations, holds_more
from compilers.parse.field import Field, Origin, shown
from compilers.parse.selectors import read_selector

_PEER: Final = frozenset({"podSelector", "namespaceSelector", "ipBlock"})
_PORT: Final = frozenset({"protocol", "port", "endPort"})
_BLOCK: Final = frozenset({"cidr", "except"})
_PROTOCOLS: Final = {protocol.value: protocol for protocol in Protocol}


def read_rules(field: Field, direction: Direction) -> tuple[PolicyRule, ...]:
    """The rules of `spec.ingress` or `spec.egress`. Where faults were noted they are not whole: do not use them."""
    if holds_more(field.value, MOST_VALUES):
        field.fault(f"holds more than {MOST_VALUES:,} values: write several policies")
        return ()
    count = combinations(field.value, direction.peer_field)
    if count > MOST_COMBINATIONS:
        field.fault(
            f"has {count:,} combinations of a peer and a port, at most {MOST_COMBINATIONS:,} are read: "
            "write several policies, or ranges instead of single ports"
        )
        return ()
    return tuple(_read_rule(item, direction) for item in field.items())


def _read_rule(field: Field, direction: Direction) -> PolicyRule:
    if field.absent:
        field.fault("is nothing (null): write {} for a rule that allows everything")
    field.fields(frozenset({"ports", direction.peer_field}))
    peers, ports = field.at(direction.peer_field), field.at("ports")
    read_peers = tuple(peer for item in peers.items() if (peer := _read_peer(item)) is not None)
    read_ports = tuple(port for item in ports.items() if (port := read_port(item)) is not None)
    return PolicyRule(
        peers=None if peers.absent else read_peers,
        ports=None if ports.absent else read_ports,
    )


def _read_peer(field: Field) -> Peer | None:
    fields = field.fields(_PEER)
    present = [name for name in sorted(_PEER) if fields.get(name) is not None]
    if isinstance(field.value, dict | None) and not present:
        # Kubernetes' validation: "must specify a peer". An empty peer does not mean everyone.
        field.fault("must hold a podSelector, a namespaceSelector or an ipBlock")
    if "ipBlock" in present and len(present) > 1:
        # API, ipBlock: "If this field is set then neither of the other fields can be."
        others = " and ".join(name for name in present if name != "ipBlock")
        field.fault(f"ipBlock cannot stand beside {others} in one peer: write two peers")
    block = _read_block(field.at("ipBlock"))
    pods, namespaces = read_selector(field.at("podSelector")), read_selector(field.at("namespaceSelector"))
    if block is not None or (pods is None and namespaces is None):
        return block
    return SelectorPeer(pods, namespaces)


def _read_block(field: Field) -> IpBlock | None:
    if field.absent:
        return None
    before = field.findings.count
    field.fields(_BLOCK)
    cidr = field.at("cidr")
    if cidr.absent and isinstance(field.value, dict):
        cidr.fault("is required")
    text = cidr.text()
    network = None if text is None else read_network(cidr, text)
    excepts = [_read_except(item, network) for item in field.at("except").items()]
    if network is None or field.findings.count > before:
        return None
    return IpBlock(network, tuple(block for block in excepts if block is not None))


def _read_except(field: Field, cidr: Network | None) -> Network | None:
    if field.absent:
        field.fault("must be a CIDR, found nothing (null)")
    text = field.text()
    block = None if text is None else read_network(field, text)
    if block is None or cidr is None:
        return None
    try:
        IpBlock(cidr, (block,))
    except InvalidField as fault:
        field.fault(fault.reason)
        return None
    if block == cidr:
        # Kubernetes' validation: an except "must be a strict subset of `cidr`".
        reason = f"{block} is all of the cidr, so the block matches nothing"
        if field.findings.origin is Origin.FILE:
            field.fault(f"{reason}; an except must leave something of it")
        else:
            field.warn(reason)
    return block


def read_port(field: Field) -> PortMatch | None:
    """One entry of `ports`; None and faults when it cannot be read."""
    before = field.findings.count
    if field.absent:
        field.fault("is nothing (null): write {} for every TCP port")
    field.fields(_PORT)
    protocol = read_protocol(field.at("protocol"))
    port, end_port = _read_port_or_name(field.at("port")), _read_number(field.at("endPort"))
    if protocol is None or field.findings.count > before:
        return None
    try:
        return PortMatch(protocol, port, end_port)
    except InvalidField as fault:
        field.invalid(fault)
        return None


def read_protocol(field: Field) -> Protocol | None:
    """A protocol; API: "If not specified, this field defaults to TCP". None and a fault when it is another word."""
    text = field.text()
    if text is None:
        return Protocol.TCP if field.absent else None
    if text not in _PROTOCOLS:
        field.fault(f"{quoted(text)} is no protocol: must be one of {', '.join(_PROTOCOLS)}")
    return _PROTOCOLS.get(text)


def _read_port_or_name(field: Field) -> int | str | None:
    value = field.value
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return _read_number(field)
    if not isinstance(value, str):
        field.fault(f"must be a port number or a port name, found {shown(value)}")
        return None
    if value.isascii() and value.isdigit():
        # In quotes it is a name. API, port: "This can either be a numerical or named port on a pod."
        field.fault(
            f"{quoted(value)} is in quotes and thus a port name, which needs a letter: take the quotes away"
        )
        return None
    return value if field.passes(check_port_name, value) else None


def _read_number(field: Field) -> int | None:
    number = field.integer()
    return number if number is not None and field.passes(check_port_number, number) else None
