"""Ports: whether the protocol and port of a connection are ones that a rule names.

Knows numbers, ranges and names, and whose containers resolve a name. Knows nothing of selectors.
"""

from compilers.evaluate.ends import PodEnd
from compilers.evaluate.misses import Miss, NoPortNames, OtherNamedPort, OtherPort
from compilers.evaluate.traffic import Traffic
from compilers.model.block import IpBlock
from compilers.model.faults import FieldPath
from compilers.model.policy import Peer
from compilers.model.port import PortMatch, numbers_of
from compilers.model.words import Direction


def port_miss(
    port: PortMatch, traffic: Traffic, direction: Direction, peer: Peer | None, path: FieldPath
) -> Miss | None:
    """Why this entry of `ports` does not match; None: it does.

    `peer` is the peer of the rule that named the other end, None for a rule without peers.
    """
    if isinstance(port.port, str):
        return _named(port, port.port, traffic, direction, peer, path)
    # A protocol the API cannot name (ICMP) matches no entry of ports, only a rule without any.
    if traffic.protocol is not port.protocol or not _in_interval(port, traffic.port):
        return OtherPort(path, port, traffic.service, traffic.protocol)
    return None


def _in_interval(port: PortMatch, number: int | None) -> bool:
    if port.interval is None:
        # API: "If this field is not provided, this matches all port names and numbers" of the protocol.
        return True
    # API, endPort: "the range of ports from port to endPort if set, inclusive, should be allowed by the policy."
    first, last = port.interval
    return number is not None and first <= number <= last


def _named(
    port: PortMatch, name: str, traffic: Traffic, direction: Direction, peer: Peer | None, path: FieldPath
) -> Miss | None:
    # API, port: "This can either be a numerical or named port on a pod": in both directions on the pod that is
    # connected to, which for an ingress rule is the pod the policy selects.
    end = traffic.destination
    if direction is Direction.EGRESS and isinstance(peer, IpBlock):
        # What a block names is addresses; the containers behind one are not looked at, even if it is a pod's.
        return NoPortNames(path, port, "an ipBlock peer")
    if not isinstance(end, PodEnd):
        return NoPortNames(path, port, str(end))
    numbers = numbers_of(name, port.protocol, end.pod.ports)
    if traffic.protocol is not port.protocol or traffic.port not in numbers:
        return OtherNamedPort(path, port, end, numbers, traffic.service)
    return None
