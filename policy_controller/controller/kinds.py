"""The kinds of objects the operator watches, as a table: where the API serves them and who parses them.

Knows the API's spelling. Knows nothing of how objects arrive or are kept.
"""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from compilers.model.cluster import Namespace, Node, Pod
from compilers.model.policy import NetworkPolicy
from compilers.parse.objects import parse_namespace, parse_node, parse_pod
from compilers.parse.policy import Origin, Parsed, parse_policy

Value = NetworkPolicy | Pod | Namespace | Node


class Kind(enum.Enum):
    """A kind of object; the value is the API's name of it."""

    POLICY = "NetworkPolicy"
    POD = "Pod"
    NAMESPACE = "Namespace"
    NODE = "Node"


DECIDING: Final = frozenset({Kind.POLICY, Kind.POD, Kind.NAMESPACE})
"""Kinds that rule sets are made of. Nodes are only told of in the status: not to know them makes nobody unready."""


@dataclass(frozen=True, slots=True)
class KindRow:
    """Where the API serves a kind, and how one of its objects becomes a value."""

    group: str
    version: str
    plural: str
    parse: Callable[[object], Parsed[NetworkPolicy] | Parsed[Pod] | Parsed[Namespace] | Parsed[Node]]

    @property
    def api_version(self) -> str:
        """`v1` or `group/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


KINDS: Final[Mapping[Kind, KindRow]] = {
    Kind.POLICY: KindRow(
        "networking.k8s.io", "v1", "networkpolicies", lambda tree: parse_policy(tree, Origin.API, {})
    ),
    Kind.POD: KindRow("", "v1", "pods", lambda tree: parse_pod(tree, Origin.API, {})),
    Kind.NAMESPACE: KindRow("", "v1", "namespaces", lambda tree: parse_namespace(tree, Origin.API, {})),
    Kind.NODE: KindRow("", "v1", "nodes", lambda tree: parse_node(tree, Origin.API, {})),
}
