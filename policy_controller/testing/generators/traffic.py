"""Traffic worth trying in a cluster: where one address or one port decides.

Knows the boundaries that policies draw. Knows nothing of who is on which side of them.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from random import Random
from typing import Final

from compilers.evaluate.ends import End, PodEnd, end_at
from compilers.evaluate.traffic import ICMP, Traffic
from compilers.model.block import IpBlock, network_range
from compilers.model.cluster import Cluster
from compilers.model.policy import PolicyRule
from compilers.model.port import LAST_PORT, PortMatch
from compilers.model.words import Address, Family, Protocol, family_of
from policy_controller.testing.generators.vocabulary import seeded
from policy_controller.testing.laboratory.addresses import OUTSIDE4, OUTSIDE6

Service = tuple[Protocol | int, int | None]
"""A protocol and its port; None where there is none."""

OUTSIDE_ENDS: Final = (OUTSIDE4[9], OUTSIDE4[70], OUTSIDE4[200], OUTSIDE6[9], OUTSIDE6[70], OUTSIDE6[1 << 60])
GRE: Final = 47
MOST_BOUNDARIES: Final = 6
"""How many block boundaries of a family are tried, so that blocks do not crowd out pods."""


def traffic_of(cluster: Cluster, rng: Random, services_each: int = 5) -> Iterator[Traffic]:
    """Every pair of interesting ends with a pod among them, each with some of the interesting services.

    Ends: every address that a pod reports (owned or not), every node's, addresses outside, boundaries of blocks.
    Services: each rule's port numbers and the numbers beside them, the numbers behind names, ICMP and GRE.
    Takes one choice from `rng`: a generator that shrinks shrinks the cluster, not the traffic.
    """
    own = seeded(rng.getrandbits(32))
    for family in Family:
        ends = ends_of(cluster, family, own)
        services = services_of(cluster, family)
        for source in ends:
            for destination in ends:
                if not isinstance(source, PodEnd) and not isinstance(destination, PodEnd):
                    continue
                for protocol, port in own.sample(services, min(services_each, len(services))):
                    yield Traffic(source, destination, protocol, port)


def ends_of(cluster: Cluster, family: Family, rng: Random) -> tuple[End, ...]:
    """The interesting ends of one family, sorted by address."""
    addresses = {address for pod in cluster.pods for address in pod.addresses}
    addresses |= {address for node in cluster.nodes.values() for address in node.addresses}
    addresses |= set(OUTSIDE_ENDS)
    boundaries = sorted(_boundaries(cluster, family) - addresses, key=int)
    addresses |= set(rng.sample(boundaries, min(MOST_BOUNDARIES, len(boundaries))))
    return tuple(
        end_at(cluster, address) for address in sorted(addresses, key=int) if family_of(address) is family
    )


def services_of(cluster: Cluster, family: Family) -> tuple[Service, ...]:
    """The interesting services, sorted; the family decides which ICMP."""
    numbers: dict[Protocol, set[int]] = {protocol: {80} for protocol in Protocol}
    for match in _ports(cluster):
        if match.interval is not None:
            first, last = match.interval
            numbers[match.protocol] |= {first - 1, first, last, last + 1}
    for pod in cluster.pods:
        for named in pod.ports:
            numbers[named.protocol].add(named.number)
    ported: list[Service] = [
        (protocol, number)
        for protocol, found in numbers.items()
        for number in sorted(found)
        if 0 <= number <= LAST_PORT
    ]
    return (*ported, (ICMP[family], None), (GRE, None))


def _boundaries(cluster: Cluster, family: Family) -> set[Address]:
    found: set[int] = set()
    for block in _blocks(cluster):
        if block.family is family:
            for network in (block.cidr, *block.excepts):
                first, last = network_range(network)
                found |= {first - 1, first, last, last + 1}
    highest = (1 << family.bits) - 1
    make = type(ip_address("0.0.0.0" if family is Family.IPV4 else "::"))
    return {make(number) for number in found if 0 < number < highest}


def _rules(cluster: Cluster) -> Iterable[PolicyRule]:
    return (rule for policy in cluster.policies for side in policy.sides.values() for rule in side.rules)


def _blocks(cluster: Cluster) -> Iterable[IpBlock]:
    return (peer for rule in _rules(cluster) for peer in rule.peers or () if isinstance(peer, IpBlock))


def _ports(cluster: Cluster) -> Iterable[PortMatch]:
    return (port for rule in _rules(cluster) for port in rule.ports or ())
