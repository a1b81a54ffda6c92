"""API objects for tests, as trees; versions and uids are the caller's."""

from typing import Any

Tree = dict[str, Any]


def metadata(name: str, namespace: str, version: int, uid: str, labels: dict[str, str] | None) -> Tree:
    """The metadata of any object; a cluster-scoped one has namespace ""."""
    place = {"namespace": namespace} if namespace else {}
    return {
        **place,
        "name": name,
        "uid": uid or f"uid-{namespace}-{name}",
        "resourceVersion": str(version),
        "labels": labels or {},
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }


def pod(
    name: str,
    *,
    namespace: str = "shop",
    address: str = "",
    node: str = "node-a",
    labels: dict[str, str] | None = None,
    version: int = 0,
    uid: str = "",
) -> Tree:
    """A running pod, without an address while `address` is empty."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, namespace, version, uid, labels),
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "app"}]},
        "status": {"phase": "Running", "podIPs": [{"ip": address}] if address else []},
    }


def namespace(name: str, *, labels: dict[str, str] | None = None, version: int = 0, uid: str = "") -> Tree:
    """A namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": metadata(name, "", version, uid, labels),
    }


def node(
    name: str,
    *,
    address: str = "192.0.2.1",
    labels: dict[str, str] | None = None,
    version: int = 0,
    uid: str = "",
) -> Tree:
    """A node with one address."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata(name, "", version, uid, labels),
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }


def policy(
    name: str, spec: Tree | None = None, *, namespace: str = "shop", version: int = 0, uid: str = ""
) -> Tree:
    """A NetworkPolicy; without a spec it denies all ingress of the namespace."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(name, namespace, version, uid, None),
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]} if spec is None else spec,
    }


def allow_from(labels: dict[str, str], *, port: object = 80) -> Tree:
    """A spec that admits pods with these labels to one TCP port of every pod of the namespace."""
    return {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": labels}}], "ports": [{"port": port}]}],
    }


def new(tree: Tree) -> Tree:
    """An object as a client writes it: the server gives uid, version and time."""
    given = ("uid", "resourceVersion", "creationTimestamp")
    metadata = {name: value for name, value in tree["metadata"].items() if name not in given}
    return {**tree, "metadata": metadata}
