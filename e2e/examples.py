"""The repository's examples as objects of a cluster that has other namespaces, nodes and addresses.

An example's namespaces get a prefix, so that none of the cluster's own is touched; its nodes become two of the cluster's, and
blocks that stand for its pod network or its nodes become the cluster's. Its rows keep their verdicts. Knows examples and how
their addresses are placed. Knows nothing of how a verdict is reached.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import yaml

from compilers.evaluate.decision import Verdict
from compilers.evaluate.ends import End, OutsideEnd, PodEnd
from compilers.evaluate.traffic import Traffic
from compilers.model.cluster import Cluster, Pod, PodNetwork
from compilers.model.words import Address, Family, Protocol, family_of
from e2e.agents import AgentPod
from policy_controller.testing.examples import NODES, Expectation, load_example
from policy_controller.testing.laboratory.addresses import node_addresses

Json = dict[str, Any]

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"
PREFIX: Final = "e2e-"
NAME_LABEL: Final = "kubernetes.io/metadata.name"
POD_NETWORKS: Final = {Family.IPV4: "10.244.0.0/16", Family.IPV6: "fd10:244::/32"}
"""The pod networks of the examples' own nodes, as their policies write them."""


class NoCounterpartError(Exception):
    """The cluster has nothing that stands for an address of the example; the text names it."""


@dataclass(frozen=True, slots=True)
class Site:
    """What of a cluster stands for what of an example: nodes in the order of the example's, and the blocks of all pods."""

    nodes: Sequence[str]
    node_addresses: Mapping[str, tuple[Address, ...]]
    pod_networks: tuple[str, ...]

    @classmethod
    def of(cls, nodes: Sequence[Json]) -> "Site":
        """Of the cluster's Node objects; the first nodes by name that pods may run on."""
        free = [
            node for node in nodes if not node["spec"].get("unschedulable") and not _is_control_plane(node)
        ]
        chosen = sorted(free or nodes, key=lambda node: str(node["metadata"]["name"]))
        addresses = {
            node["metadata"]["name"]: tuple(
                ip_address(one["address"])
                for one in node["status"]["addresses"]
                if one["type"] == "InternalIP"
            )
            for node in nodes
        }
        networks = sorted({block for node in nodes for block in node["spec"].get("podCIDRs") or ()})
        names = [node["metadata"]["name"] for node in chosen]
        return cls([names[index % len(names)] for index in range(len(NODES))], addresses, tuple(networks))


@dataclass(frozen=True, slots=True)
class Row:
    """A row to be asked: keys of agents or names of nodes, and the verdict."""

    source: str
    destination: str
    family: Family
    protocol: Protocol | int
    port: int | None
    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class Staged:
    """An example on a cluster. `left_out` counts the rows with an end that no cluster has: a host outside."""

    namespaces: Mapping[str, Mapping[str, str]]
    pods: tuple[AgentPod, ...]
    policies: tuple[Json, ...]
    rows: tuple[Row, ...]
    left_out: int


def staged(path: Path, site: Site) -> Staged:
    """The example in a folder, on this cluster. Raises NoCounterpartError."""
    example = load_example(path)
    nodes = dict(zip(NODES, site.nodes, strict=True))
    rows = [_row(expectation, nodes) for expectation in example.expectations]
    ports = _ports(example.cluster, example.expectations)
    return Staged(
        namespaces={
            PREFIX + name: {key: value for key, value in namespace.labels.items() if key != NAME_LABEL}
            for name, namespace in example.cluster.namespaces.items()
        },
        pods=tuple(_pod(pod, nodes, ports.get(_key(pod), frozenset())) for pod in example.cluster.pods),
        policies=tuple(_policies(path, site)),
        rows=tuple(row for row in rows if row is not None),
        left_out=rows.count(None),
    )


def _key(pod: Pod) -> str:
    return f"{PREFIX}{pod.namespace}/{pod.name}"


def _pod(pod: Pod, nodes: Mapping[str, str], ports: frozenset[tuple[Protocol, int]]) -> AgentPod:
    return AgentPod(
        PREFIX + pod.namespace,
        pod.name,
        nodes[pod.node or ""],
        pod.labels,
        ports,
        pod.ports,
        pod.network is PodNetwork.HOST,
    )


def _ports(
    cluster: Cluster, expectations: Sequence[Expectation]
) -> Mapping[str, frozenset[tuple[Protocol, int]]]:
    """What each pod listens on: what it declares, and what a row knocks on."""
    found: dict[str, set[tuple[Protocol, int]]] = {
        _key(pod): {(port.protocol, port.number) for port in pod.ports} for pod in cluster.pods
    }
    for expectation in expectations:
        traffic = expectation.traffic
        if isinstance(traffic.destination, PodEnd) and isinstance(traffic.protocol, Protocol):
            found[_key(traffic.destination.pod)].add((traffic.protocol, traffic.port or 0))
    return {key: frozenset(ports) for key, ports in found.items()}


def _row(expectation: Expectation, nodes: Mapping[str, str]) -> Row | None:
    traffic: Traffic = expectation.traffic
    ends = [_end(end, nodes) for end in (traffic.source, traffic.destination)]
    if ends[0] is None or ends[1] is None:
        return None
    return Row(
        ends[0],
        ends[1],
        traffic.family,
        traffic.protocol,
        traffic.port,
        expectation.verdict,
        str(expectation),
    )


def _end(end: End, nodes: Mapping[str, str]) -> str | None:
    if isinstance(end, OutsideEnd):
        return None
    return _key(end.pod) if isinstance(end, PodEnd) else nodes[end.name]


def _policies(path: Path, site: Site) -> Iterator[Json]:
    for document in yaml.safe_load_all((path / "policies.yaml").read_text("utf-8")):
        moved = _moved(document, site)
        moved["metadata"]["namespace"] = PREFIX + document["metadata"]["namespace"]
        yield moved


def _moved(value: Any, site: Site) -> Any:  # noqa: ANN401 - any JSON value
    """The same with this cluster's names and blocks."""
    if isinstance(value, list):
        return [moved for item in value for moved in _items(item, site)]
    if isinstance(value, dict):
        return {key: _named(key, item) or _moved(item, site) for key, item in value.items()}
    return value


def _named(key: str, value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    return PREFIX + value if key == NAME_LABEL and isinstance(value, str) else None


def _items(item: Any, site: Site) -> Iterator[Any]:  # noqa: ANN401 - any JSON value
    """What one item of a list becomes: an excepted block, or a peer with a block, may become several."""
    if isinstance(item, str):
        yield from _blocks(item, site)
    elif isinstance(item, dict) and "ipBlock" in item:
        for cidr in _blocks(item["ipBlock"]["cidr"], site):
            yield {**item, "ipBlock": {**_moved(item["ipBlock"], site), "cidr": cidr}}
    else:
        yield _moved(item, site)


def _blocks(text: str, site: Site) -> tuple[str, ...]:
    for family, network in POD_NETWORKS.items():
        if text == network:
            return tuple(
                one for one in site.pod_networks if family_of(ip_network(one).network_address) is family
            )
    for index, name in enumerate(site.nodes, start=1):
        for address in node_addresses(index):
            if text == f"{address}/{address.max_prefixlen}":
                same = [one for one in site.node_addresses[name] if one.version == address.version]
                if not same:
                    raise NoCounterpartError(f"node {name} has no IPv{address.version} address")
                return tuple(f"{one}/{one.max_prefixlen}" for one in same)
    return (text,)


def _is_control_plane(node: Json) -> bool:
    return "node-role.kubernetes.io/control-plane" in (node["metadata"].get("labels") or {})
