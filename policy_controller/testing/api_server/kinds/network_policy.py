"""NetworkPolicy of networking.k8s.io/v1: its type, the defaults the server fills in, and what it rejects.

This is what an API server of version 1.33 with default feature gates does, not what policies mean: the CIDRs are read
as leniently as its Go parser reads them. Fields that the type does not have are dropped, empty lists become absent.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from policy_controller.testing.api_server.documents import JsonObject, without_nulls
from policy_controller.testing.api_server.errors import Fault, FieldFault, bad_request
from policy_controller.testing.api_server.kinds.rules import Rules
from policy_controller.testing.api_server.names import (
    label_value_faults,
    port_name_faults,
    port_number_faults,
    qualified_name_faults,
)

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
POLICY_TYPES: Final = ("Egress", "Ingress")
SET_OPERATORS: Final = frozenset({"In", "NotIn"})
KEY_OPERATORS: Final = frozenset({"Exists", "DoesNotExist"})


class SelectorExpression(msgspec.Struct, omit_defaults=True):
    """metav1.LabelSelectorRequirement."""

    key: str = ""
    operator: str = ""
    values: list[str] = []


class LabelSelector(msgspec.Struct, omit_defaults=True):
    """metav1.LabelSelector."""

    matchLabels: dict[str, str] = {}  # noqa: N815 - the API's spelling
    matchExpressions: list[SelectorExpression] = []  # noqa: N815 - the API's spelling


class IpBlock(msgspec.Struct, omit_defaults=True):
    """IPBlock; `except` is a word of Python."""

    cidr: str = ""
    excepts: list[str] = msgspec.field(name="except", default_factory=list)


class Peer(msgspec.Struct, omit_defaults=True):
    """NetworkPolicyPeer."""

    podSelector: LabelSelector | None = None  # noqa: N815 - the API's spelling
    namespaceSelector: LabelSelector | None = None  # noqa: N815 - the API's spelling
    ipBlock: IpBlock | None = None  # noqa: N815 - the API's spelling


class Port(msgspec.Struct, omit_defaults=True):
    """NetworkPolicyPort."""

    protocol: str | None = None
    port: int | str | None = None
    endPort: int | None = None  # noqa: N815 - the API's spelling


class IngressRule(msgspec.Struct, omit_defaults=True):
    """NetworkPolicyIngressRule; `from` is a word of Python."""

    ports: list[Port] = []
    peers: list[Peer] = msgspec.field(name="from", default_factory=list)


class EgressRule(msgspec.Struct, omit_defaults=True):
    """NetworkPolicyEgressRule."""

    ports: list[Port] = []
    peers: list[Peer] = msgspec.field(name="to", default_factory=list)


class Spec(msgspec.Struct, omit_defaults=True):
    """NetworkPolicySpec."""

    podSelector: LabelSelector = msgspec.field(default_factory=LabelSelector)  # noqa: N815 - the API's spelling
    ingress: list[IngressRule] = []
    egress: list[EgressRule] = []
    policyTypes: list[str] = []  # noqa: N815 - the API's spelling


def _typed(body: JsonObject) -> Spec:
    try:
        return msgspec.convert(without_nulls(body.get("spec", {})), Spec)
    except msgspec.ValidationError as fault:
        raise bad_request(
            f'NetworkPolicy in version "v1" cannot be handled as a NetworkPolicy: spec: {fault}'
        ) from fault


def _shape(body: JsonObject) -> None:
    spec = _typed(body)
    if not spec.policyTypes:
        # API: "If this field is not specified, it will default based on the existence of ingress or egress rules;
        # policies that contain an egress section are assumed to affect egress, and all policies (whether or not they
        # contain an ingress section) are assumed to affect ingress."
        spec.policyTypes = ["Ingress", "Egress"] if spec.egress else ["Ingress"]
    for rule in _rules(spec):
        for port in rule.ports:
            # The API says of protocol: "If not specified, this field defaults to TCP."
            port.protocol = port.protocol or "TCP"
    body["spec"] = {"podSelector": {}, **msgspec.to_builtins(spec)}


Rule = IngressRule | EgressRule


def _rules(spec: Spec) -> list[Rule]:
    return [*spec.ingress, *spec.egress]


def _supported(words: Iterable[str]) -> str:
    return "supported values: " + ", ".join(f'"{word}"' for word in words)


def _validate(body: JsonObject) -> list[FieldFault]:
    spec = _typed(body)
    faults = _selector_faults("spec.podSelector", spec.podSelector)
    for index, entry in enumerate(spec.ingress):
        faults += _rule_faults(f"spec.ingress[{index}]", "from", entry)
    for index, exit_rule in enumerate(spec.egress):
        faults += _rule_faults(f"spec.egress[{index}]", "to", exit_rule)
    return faults + _policy_type_faults(spec.policyTypes)


def _rule_faults(path: str, side: str, rule: Rule) -> list[FieldFault]:
    faults = []
    for number, port in enumerate(rule.ports):
        faults += _port_faults(f"{path}.ports[{number}]", port)
    for number, peer in enumerate(rule.peers):
        faults += _peer_faults(f"{path}.{side}[{number}]", peer)
    return faults


def _policy_type_faults(types: list[str]) -> list[FieldFault]:
    path = "spec.policyTypes"
    if len(types) > len(POLICY_TYPES):
        return [FieldFault(path, Fault.INVALID, "may not specify more than two policyTypes", types)]
    return [
        FieldFault(f"{path}[{index}]", Fault.NOT_SUPPORTED, _supported(POLICY_TYPES), word)
        for index, word in enumerate(types)
        if word not in POLICY_TYPES
    ]


def _port_faults(path: str, port: Port) -> list[FieldFault]:
    faults = []
    if port.protocol not in PROTOCOLS:
        faults.append(
            FieldFault(f"{path}.protocol", Fault.NOT_SUPPORTED, _supported(PROTOCOLS), port.protocol)
        )
    end = f"{path}.endPort"
    if isinstance(port.port, int):
        faults += _invalid(f"{path}.port", port.port, port_number_faults(port.port))
        if port.endPort is not None:
            if port.endPort < port.port:
                faults += _invalid(end, port.endPort, ["must be greater than or equal to `port`"])
            faults += _invalid(end, port.endPort, port_number_faults(port.endPort))
        return faults
    if port.endPort is not None:
        # API: "This field cannot be defined if the port field is not defined or if the port field is defined as a
        # named (string) port."
        when = "not specified" if port.port is None else "non-numeric"
        faults += _invalid(end, port.endPort, [f"may not be specified when `port` is {when}"])
    if port.port is not None:
        faults += _invalid(f"{path}.port", port.port, port_name_faults(port.port))
    return faults


def _peer_faults(path: str, peer: Peer) -> list[FieldFault]:
    faults = []
    for name, selector in (("podSelector", peer.podSelector), ("namespaceSelector", peer.namespaceSelector)):
        if selector is not None:
            faults += _selector_faults(f"{path}.{name}", selector)
    selects = peer.podSelector is not None or peer.namespaceSelector is not None
    if peer.ipBlock is not None:
        faults += _block_faults(f"{path}.ipBlock", peer.ipBlock)
        if selects:
            # The API says of ipBlock: "If this field is set then neither of the other fields can be."
            faults.append(FieldFault(path, Fault.FORBIDDEN, "may not specify both ipBlock and another peer"))
    elif not selects:
        faults.append(FieldFault(path, Fault.REQUIRED, "must specify a peer"))
    return faults


def _block_faults(path: str, block: IpBlock) -> list[FieldFault]:
    if not block.cidr:
        return [FieldFault(f"{path}.cidr", Fault.REQUIRED, "")]
    network = read_cidr(block.cidr)
    bad = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
    faults = [] if network else _invalid(f"{path}.cidr", block.cidr, [bad])
    for index, text in enumerate(block.excepts):
        at = f"{path}.except[{index}]"
        hole = read_cidr(text)
        if hole is None:
            faults += _invalid(at, text, [bad])
        elif network is not None and not (_inside(hole, network) and hole != network):
            faults += _invalid(at, text, ["must be a strict subset of `cidr`"])
    return faults


IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_CIDR: Final = re.compile(r"(?P<address>[0-9a-fA-F:.]+)/(?P<length>[0-9]+)")
_LEADING_ZEROS: Final = re.compile(r"(?<![0-9a-fA-F:.])0+(?=[0-9])|(?<=\.)0+(?=[0-9])")


def read_cidr(text: str) -> IpNetwork | None:
    """A CIDR as Go's older parser reads it: host bits are cut off, leading zeros of IPv4 are decimal; None if bad."""
    found = _CIDR.fullmatch(text)
    if found is None:
        return None
    address = found["address"]
    if ":" not in address:
        address = _LEADING_ZEROS.sub("", address)
    try:
        return ipaddress.ip_network(f"{address}/{int(found['length'])}", strict=False)
    except ValueError:
        return None


def _inside(hole: IpNetwork, network: IpNetwork) -> bool:
    match hole, network:
        case ipaddress.IPv4Network(), ipaddress.IPv4Network():
            return hole.subnet_of(network)
        case ipaddress.IPv6Network(), ipaddress.IPv6Network():
            return hole.subnet_of(network)
        case _:
            return False


def _selector_faults(path: str, selector: LabelSelector) -> list[FieldFault]:
    faults = []
    for key, value in selector.matchLabels.items():
        faults += _invalid(f"{path}.matchLabels", key, qualified_name_faults(key))
        faults += _invalid(f"{path}.matchLabels", value, label_value_faults(value))
    for index, expression in enumerate(selector.matchExpressions):
        faults += _expression_faults(f"{path}.matchExpressions[{index}]", expression)
    return faults


def _expression_faults(path: str, expression: SelectorExpression) -> list[FieldFault]:
    faults = []
    if expression.operator in SET_OPERATORS:
        if not expression.values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            faults.append(FieldFault(f"{path}.values", Fault.REQUIRED, detail))
    elif expression.operator in KEY_OPERATORS:
        if expression.values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            faults.append(FieldFault(f"{path}.values", Fault.FORBIDDEN, detail))
    else:
        faults += _invalid(f"{path}.operator", expression.operator, ["not a valid selector operator"])
    faults += _invalid(f"{path}.key", expression.key, qualified_name_faults(expression.key))
    for number, value in enumerate(expression.values):
        faults += _invalid(f"{path}.values[{number}]", value, label_value_faults(value))
    return faults


def _invalid(path: str, value: object, details: Iterable[str]) -> list[FieldFault]:
    return [FieldFault(path, Fault.INVALID, detail, value) for detail in details]


NETWORK_POLICY: Final = Rules(shape=_shape, validate=_validate)
