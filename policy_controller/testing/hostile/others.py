"""Pods, namespaces and nodes that say what they should not.

Knows the fields of core/v1 that decide about traffic. Knows nothing of who reads them.
"""

from collections.abc import Iterator
from typing import Final

from policy_controller.testing.hostile.case import INGRESS, PREY, Case, Json, namespace, node, pod, policy

NO_ADDRESSES: Final[dict[str, object]] = {
    "text": "web.example",
    "empty": "",
    "a CIDR": "10.244.1.9/24",
    "a zone": "fe80::1%eth0",
    "a number": 7,
    "a list": ["10.244.1.9"],
    "nft": "10.244.1.9 } accept",
    "octal or not": "0x0a.0.0.1",
    "too long": "1" * 100_000,
}
ODD_ADDRESSES: Final[dict[str, str]] = {
    "unspecified": "0.0.0.0",
    "unspecified IPv6": "::",
    "loopback": "127.0.0.1",
    "loopback IPv6": "::1",
    "multicast": "224.0.0.1",
    "multicast IPv6": "ff02::1",
    "broadcast": "255.255.255.255",
    "link-local": "fe80::1",
    "its node's": "192.0.2.1",
    "another node's": "192.0.2.2",
    "the prey's": "10.244.1.2",
    "IPv4 written as IPv6": "::ffff:10.244.1.9",
    "leading zeros": "010.244.001.009",
    "the API server's": "10.96.0.1",
}
DENY: Final = policy({"policyTypes": ["Ingress"]})


def _addresses() -> Iterator[Case]:
    for name, value in NO_ADDRESSES.items():
        told = ("is not an IP address",) if isinstance(value, str) else ("must be a string",)
        sly = pod("sly", status={"podIPs": [{"ip": value}]})
        yield Case(f"no address: {name}", (sly,), told if value != "" else ())
    for name, text in ODD_ADDRESSES.items():
        yield Case(f"address: {name}", (pod("sly", text), DENY), (), INGRESS)
    many = [{"ip": f"10.250.0.{number}"} for number in range(1, 101)]
    yield Case("address: a hundred", (pod("sly", status={"podIPs": many}), DENY), (), INGRESS)
    more = [{"ip": f"10.250.{number >> 8}.{number & 255}"} for number in range(1, 1_001)]
    yield Case(
        "address: a thousand", (pod("sly", status={"podIPs": more}), DENY), ("has 1000 entries",), INGRESS
    )


def _sly(part: str, **fields: object) -> Json:
    tree = pod("sly", "10.244.1.9")
    return tree | {part: tree[part] | fields}


def _containers(*ports: Json) -> Json:
    return {"containers": [{"name": "main", "ports": list(ports)}]}


NAMED: Final = {"name": "web", "containerPort": 80}
PODS: Final[tuple[tuple[str, Json, tuple[str, ...]], ...]] = (
    (
        "a thousand ports",
        _sly("spec", **_containers(*({"name": f"p{n}", "containerPort": n + 1} for n in range(1_000)))),
        (),
    ),
    (
        "one port name a hundred times",
        _sly("spec", **_containers(*(NAMED | {"containerPort": n + 1} for n in range(100)))),
        (),
    ),
    ("the same port twice", _sly("spec", **_containers(NAMED, NAMED)), ()),
    ("port 0", _sly("spec", **_containers(NAMED | {"containerPort": 0})), ("0 is not a port",)),
    ("port in quotes", _sly("spec", **_containers(NAMED | {"containerPort": "80"})), ("must be an integer",)),
    ("port without a number", _sly("spec", **_containers({"name": "web"})), ("is required",)),
    ("protocol unknown", _sly("spec", **_containers(NAMED | {"protocol": "QUIC"})), ("is no protocol",)),
    ("containers are a mapping", _sly("spec", containers={"main": {}}), ("must be a list",)),
    ("containers are null", _sly("spec", containers=None), ()),
    ("a null container", _sly("spec", containers=[None]), ()),
    ("hostNetwork is text", _sly("spec", hostNetwork="true"), ("must be true or false",)),
    ("hostNetwork is 1", _sly("spec", hostNetwork=1), ("must be true or false",)),
    ("phase unknown", _sly("status", phase="Dreaming"), ("is no phase",)),
    ("phase is a list", _sly("status", phase=["Running"]), ("must be a string",)),
    ("labels are a list", _sly("metadata", labels=["app"]), ("must be a mapping",)),
    ("labels are null", _sly("metadata", labels=None), ()),
    ("a label is true", _sly("metadata", labels={"app": True}), ("must be a string",)),
    ("a thousand labels", _sly("metadata", labels={f"k{n}": f"v{n}" for n in range(1_000)}), ()),
    ("owners are text", _sly("metadata", ownerReferences="web"), ("must be a list",)),
    ("created is no time", _sly("metadata", creationTimestamp="yesterday"), ("is not a time",)),
    ("created in the year 9999", _sly("metadata", creationTimestamp="9999-12-31T23:59:59Z"), ()),
    ("podIPs are a mapping", _sly("status", podIPs={"ip": "10.244.1.9"}), ("must be a list",)),
    ("podIPs hold null", _sly("status", podIPs=[None, {"ip": None}]), ()),
    ("spec is a list", pod("sly", "10.244.1.9") | {"spec": []}, ("must be a mapping",)),
    ("status is text", pod("sly", "10.244.1.9") | {"status": "Running"}, ("must be a mapping",)),
)


def _objects() -> Iterator[Case]:
    for name, tree, told in PODS:
        yield Case(f"pod: {name}", (tree,), told)
    yield Case(
        "namespace: labels are a list",
        (namespace(PREY) | {"metadata": {"name": PREY, "labels": []}},),
        ("must be a mapping",),
    )
    forged = {"kubernetes.io/metadata.name": "good"}
    yield Case("namespace: takes another's name", (namespace(PREY, forged),))
    yield Case("node: address is no address", (node("node-c", "not-an-address"),), ("is not an IP address",))
    yield Case("node: has a pod's address", (node("node-c", "10.244.1.2"),))
    addresses = {"status": {"addresses": {"type": "InternalIP"}}}
    yield Case(
        "node: addresses are a mapping", (node("node-c", "192.0.2.3") | addresses,), ("must be a list",)
    )


OTHERS: Final[tuple[Case, ...]] = (*_addresses(), *_objects())
