"""The digest of a rule set: both ends of a stream compare 16 bytes instead of the whole.

A sum of per-object hashes modulo 2^128, so that a delta changes it by what it adds and removes. It guards against
mistakes, not against forgery: the stream is authenticated, the digest is not.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Final

from compilers.model.settings import Enforcement, ExistingConnections
from compilers.ruleset.parts import PodEntry
from compilers.ruleset.rule_set import RuleSet

MODULUS: Final = 1 << 128


def digest_of(rule_set: RuleSet) -> int:
    """The digest of everything in the rule set, 0 <= digest < 2^128."""
    return sum(_hash(parts) for parts in _objects(rule_set)) % MODULUS


def _hash(parts: tuple[str, ...]) -> int:
    digest = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return int.from_bytes(digest.digest(), "big")


def _objects(rule_set: RuleSet) -> Iterator[tuple[str, ...]]:
    yield ("node", rule_set.node)
    # Nothing is said of what is as usual: so it was before there was anything else.
    if rule_set.enforcement is not Enforcement.ENFORCED:
        yield ("enforcement", rule_set.enforcement.value)
    for name, peer_set in rule_set.peer_sets.items():
        yield ("peer set", name)
        for address in peer_set.addresses:
            yield ("peer", name, str(address))
    for name, port_set in rule_set.port_sets.items():
        yield ("port set", name)
        for address, protocol, number in port_set.elements:
            yield ("port", name, str(address), protocol.value, str(number))
    # Names of block sets and classes are hashes of all they hold.
    for name in rule_set.block_sets:
        yield ("block set", name)
    for name in rule_set.classes:
        yield ("class", name)
    for pod in rule_set.pods.values():
        yield _pod(pod)
    for address, entry in rule_set.legend.items():
        named = (entry.namespace, entry.pod, entry.uid, entry.workload_kind, entry.workload_name)
        yield ("legend", str(address), *named)


def _pod(pod: PodEntry) -> tuple[str, ...]:
    addresses = ",".join(map(str, pod.addresses))
    named = ("pod", pod.uid, pod.namespace, pod.name, addresses, pod.ingress or "", pod.egress or "")
    # Where nothing is chosen the digest is what it is for a peer that knows of no choice, and what it was in older files.
    return named if pod.existing is ExistingConnections.KEEP else (*named, pod.existing.value)
