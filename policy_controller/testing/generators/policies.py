"""Random policies that use every part of the API, absent and empty at every level.

Knows the model and chance. Knows pods only to make blocks that cover them.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from random import Random
from typing import Final

from compilers.model.block import IpBlock, network_range
from compilers.model.cluster import Pod
from compilers.model.faults import Fault, ObjectRef
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule, SelectorPeer, Side
from compilers.model.port import LAST_PORT, PortMatch
from compilers.model.selector import EVERYTHING, TAKES_VALUES, LabelSelector, Operator, Requirement
from compilers.model.words import Direction, Network, Protocol
from policy_controller.testing.generators.vocabulary import (
    NAMESPACE_LABELS,
    POD_LABELS,
    PORT_NAMES,
    PORT_NUMBERS,
    WIDE_BLOCKS,
    rarely,
    several,
)

DIRECTIONS: Final = (
    (Direction.INGRESS,),
    (Direction.EGRESS,),
    (Direction.INGRESS, Direction.EGRESS),
)


def random_policy(rng: Random, namespace: str, name: str, pods: Sequence[Pod]) -> NetworkPolicy:
    """A policy of this namespace and name; its blocks are likely to cover the pods."""
    ref = ObjectRef("NetworkPolicy", namespace, name)
    unread = rarely(rng, 20)
    sides: dict[Direction, Side] = {}
    for direction in rng.choice(DIRECTIONS):
        if unread:
            # A policy whose subjects are unknown admits nothing in any of its directions.
            sides[direction] = Side(faults=(Fault(ref, ("spec", "podSelector"), "is not readable"),))
        elif rarely(rng, 12):
            path = ("spec", direction.field, 0, direction.peer_field, 0)
            sides[direction] = Side(faults=(Fault(ref, path, "is not readable"),))
        else:
            sides[direction] = Side(tuple(_rule(rng, pods) for _ in range(rng.randint(0, 3))))
    faults = tuple(sorted({fault for side in sides.values() for fault in side.faults}))
    subject = None if unread else random_selector(rng, POD_LABELS)
    return NetworkPolicy(namespace, name, f"uid-{namespace}-{name}", subject, sides, faults)


def random_selector(rng: Random, words: Mapping[str, tuple[str, ...]]) -> LabelSelector:
    """A selector of these keys and values: empty, of labels, of expressions or of both."""
    if rarely(rng, 4):
        return EVERYTHING
    keys = tuple(words)
    matched = {key: rng.choice(words[key]) for key in several(rng, keys, 1)}
    count = rng.randint(0, 2) if matched else rng.randint(1, 2)
    return LabelSelector(tuple(matched.items()), tuple(_requirement(rng, words) for _ in range(count)))


def _requirement(rng: Random, words: Mapping[str, tuple[str, ...]]) -> Requirement:
    key, operator = rng.choice(tuple(words)), rng.choice(tuple(Operator))
    if operator not in TAKES_VALUES:
        return Requirement(key, operator)
    return Requirement(key, operator, several(rng, words[key], 2) or (words[key][0],))


def _rule(rng: Random, pods: Sequence[Pod]) -> PolicyRule:
    peers: tuple[Peer, ...] | None
    match rng.randrange(7):
        case 0:
            peers = None
        case 1:
            peers = ()
        case _:
            peers = tuple(_peer(rng, pods) for _ in range(rng.randint(1, 3)))
    ports: tuple[PortMatch, ...] | None
    match rng.randrange(5):
        case 0:
            ports = None
        case 1:
            ports = ()
        case _:
            ports = tuple(_port(rng) for _ in range(rng.randint(1, 3)))
    return PolicyRule(peers, ports)


def _peer(rng: Random, pods: Sequence[Pod]) -> Peer:
    match rng.randrange(5):
        case 0:
            return SelectorPeer(random_selector(rng, POD_LABELS), None)
        case 1:
            return SelectorPeer(None, random_selector(rng, NAMESPACE_LABELS))
        case 2:
            return SelectorPeer(random_selector(rng, POD_LABELS), random_selector(rng, NAMESPACE_LABELS))
        case _:
            return _block(rng, pods)


def _block(rng: Random, pods: Sequence[Pod]) -> IpBlock:
    narrow = [ip_network(address) for pod in pods for address in pod.addresses]
    # Around each pod, some neighbours too: the first bits of its host number.
    near = [network.supernet(new_prefix=network.max_prefixlen - 2) for network in narrow]
    networks = (*WIDE_BLOCKS, *near, *narrow)
    cidr = rng.choice(networks)
    holes = [network for network in networks if _strictly_inside(network, cidr)]
    return IpBlock(cidr, tuple(rng.choice(holes) for _ in range(rng.randint(0, 2))) if holes else ())


def _strictly_inside(inner: Network, outer: Network) -> bool:
    if inner.version != outer.version or inner.prefixlen <= outer.prefixlen:
        return False
    (low, high), (first, last) = network_range(inner), network_range(outer)
    return first <= low and high <= last


def _port(rng: Random) -> PortMatch:
    protocol = rng.choice(tuple(Protocol))
    match rng.randrange(6):
        case 0 | 1:
            return PortMatch(protocol, rng.choice(PORT_NUMBERS))
        case 2:
            return PortMatch(protocol)
        case 3 | 4:
            return PortMatch(protocol, rng.choice(PORT_NAMES))
        case _:
            first = rng.choice(PORT_NUMBERS)
            return PortMatch(protocol, first, min(LAST_PORT, first + rng.choice((0, 1, 10, 400, LAST_PORT))))
