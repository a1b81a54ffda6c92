"""The cluster as the reference evaluator reads it, from what kubectl says of it.

Knows kinds and their parsers. What cannot be read is left out as the operator leaves it out; tests apply nothing of the kind.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from compilers.model.cluster import Cluster
from compilers.parse.field import Origin, Parsed
from compilers.parse.objects import parse_namespace, parse_node, parse_pod
from compilers.parse.policy import parse_policy
from e2e.cluster import Kubectl

T = TypeVar("T")


async def stored(kubectl: Kubectl) -> Cluster:
    """The cluster state that the API server holds now."""
    return Cluster.of(
        _read(parse_namespace, await kubectl.all("namespaces")),
        _read(parse_pod, await kubectl.all("pods")),
        _read(parse_policy, await kubectl.all("networkpolicies")),
        _read(parse_node, await kubectl.all("nodes")),
    )


def _read(parse: Callable[[object, Origin], Parsed[T]], trees: Iterable[object]) -> Iterator[T]:
    for tree in trees:
        value = parse(tree, Origin.API).value
        if value is not None:
            yield value
