"""Peers: whether the other end of a connection is one that a rule names.

Knows selectors, namespaces and blocks. Knows nothing of ports or of the other rules.
"""

from compilers.evaluate.ends import End, PodEnd, shown
from compilers.evaluate.misses import (
    Excepted,
    Miss,
    NoPod,
    OtherNamespace,
    OutsideBlock,
    UnknownNamespace,
    WrongLabels,
)
from compilers.model.block import IpBlock
from compilers.model.cluster import Cluster
from compilers.model.faults import FieldPath
from compilers.model.policy import NetworkPolicy, Peer, SelectorPeer


def peer_misses(
    cluster: Cluster, policy: NetworkPolicy, peer: Peer, end: End, path: FieldPath
) -> tuple[Miss, ...]:
    """Every condition of the peer that this end fails; none: the peer names it. `path` is the peer's field."""
    if isinstance(peer, IpBlock):
        return _block(peer, end, (*path, "ipBlock"))
    if not isinstance(end, PodEnd):
        # API: podSelector and namespaceSelector are "a label selector which selects pods" and "selects namespaces
        # using cluster-scoped labels": a node, a hostNetwork pod or an outside address has no such labels.
        return (NoPod(path, end),)
    return _namespace(cluster, policy, peer, end, path) + _pod(peer, end, path)


def _block(block: IpBlock, end: End, path: FieldPath) -> tuple[Miss, ...]:
    # A block is about the address alone: it names pods and nodes as well as what is outside the cluster.
    if end.address.version != block.cidr.version or end.address not in block.cidr:
        return (OutsideBlock((*path, "cidr"), block, end.address),)
    # API: except "is a slice of CIDRs that should not be included within an IPBlock": of this block, not of others.
    return tuple(
        Excepted((*path, "except", index), hole, end.address)
        for index, hole in enumerate(block.excepts)
        if end.address in hole
    )


def _namespace(
    cluster: Cluster, policy: NetworkPolicy, peer: SelectorPeer, end: PodEnd, path: FieldPath
) -> tuple[Miss, ...]:
    if peer.namespace_selector is None:
        # API, podSelector: "Otherwise it selects the pods matching podSelector in the policy's own namespace."
        if end.pod.namespace != policy.namespace:
            return (OtherNamespace((*path, "podSelector"), policy.namespace, end),)
        return ()
    labels = cluster.namespace_labels(end.pod.namespace)
    where = (*path, "namespaceSelector")
    if labels is None:
        return (UnknownNamespace(where, end),)
    # API, namespaceSelector: "if present but empty, it selects all namespaces."
    if not peer.namespace_selector.matches(labels):
        return (WrongLabels(where, peer.namespace_selector, f"namespace {shown(end.pod.namespace)}", labels),)
    return ()


def _pod(peer: SelectorPeer, end: PodEnd, path: FieldPath) -> tuple[Miss, ...]:
    # API, namespaceSelector: without podSelector "it selects all pods in the namespaces selected by
    # namespaceSelector"; podSelector: "if present but empty, it selects all pods."
    if peer.pod_selector is None or peer.pod_selector.matches(end.pod.labels):
        return ()
    return (WrongLabels((*path, "podSelector"), peer.pod_selector, f"pod {end}", end.pod.labels),)
