"""A cluster state from the documents of files.

Knows which kinds decide about traffic and what an API server would have filled in. Knows nothing of files or of text.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from compilers.model.cluster import Cluster, Namespace, Node, Pod
from compilers.model.faults import Fault, ObjectRef
from compilers.model.policy import NetworkPolicy
from compilers.model.selector import quoted
from compilers.parse.field import Origin, Parsed, shown
from compilers.parse.identity import NAMESPACE, NETWORK_POLICY, NODE, POD, Kind, made_uid
from compilers.parse.objects import parse_namespace, parse_node, parse_pod
from compilers.parse.places import Positions
from compilers.parse.policy import parse_policy
from compilers.parse.source import Document

Read = Namespace | Node | Pod | NetworkPolicy
_Parser = Callable[
    [object, Origin, Positions], Parsed[Namespace] | Parsed[Node] | Parsed[Pod] | Parsed[NetworkPolicy]
]

_KINDS: Final[Mapping[str, tuple[Kind, _Parser]]] = {
    "Namespace": (NAMESPACE, parse_namespace),
    "Node": (NODE, parse_node),
    "Pod": (POD, parse_pod),
    "NetworkPolicy": (NETWORK_POLICY, parse_policy),
}
# Groups in which a kind of ours once lived: an object of theirs is meant for us and is told what is wrong with it.
_FORMER_GROUPS: Final[Mapping[str, frozenset[str]]] = {
    "NetworkPolicy": frozenset({"", "extensions", "networking.k8s.io"}),
}
_CORE: Final = frozenset({""})
_LONGEST_WORD: Final = 100
_SPELLINGS: Final[Mapping[str, str]] = {
    name.lower(): name for name in ("List", *_KINDS, *(f"{kind}List" for kind in _KINDS))
}
"""Each kind that is read, by its lower-case form: Kubernetes knows kinds by their exact spelling only."""


NO_OBJECT: Final = "no Kubernetes object"
"""The kind under which documents without apiVersion, kind and metadata are counted."""


@dataclass(frozen=True, slots=True)
class ParsedCluster:
    """The cluster that the documents describe, and what was found on the way.

    `skipped` counts documents of other kinds, by kind (with its group where a kind of ours has the same name);
    `assumed_namespaces` are those that objects name and no document describes: they have only the label of their name.
    """

    cluster: Cluster
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    skipped: Mapping[str, int]
    assumed_namespaces: tuple[str, ...]


def parse_cluster(documents: Iterable[Document], default_namespace: str = "default") -> ParsedCluster:
    """Read every document of a kind that decides about traffic. Never raises.

    Objects of namespaced kinds that name no namespace are in `default_namespace`. Of two objects with one kind and name
    the first counts, and the later one is a fault.
    """
    reading = _Reading(default_namespace)
    for document in documents:
        reading.add(document)
    return reading.result()


@dataclass(slots=True)
class _Reading:
    default_namespace: str
    found: dict[ObjectRef, Read] = field(default_factory=dict)
    uids: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, document: Document) -> None:
        tree = document.value
        if not isinstance(tree, dict):
            self._fault(ObjectRef("File", "", document.file), f"holds {shown(tree)}, not an object", document)
            return
        kind, api_version = tree.get("kind"), tree.get("apiVersion")
        if not {"apiVersion", "kind", "metadata"} & tree.keys():
            # A file of values or of expectations beside the manifests; a manifest has at least one of these.
            self.skipped[NO_OBJECT] += 1
            return
        if not isinstance(kind, str):
            self._fault(
                ObjectRef("File", "", document.file), "holds an object without a kind", document, "kind"
            )
            return
        meant = _SPELLINGS.get(kind.lower())
        if meant not in {None, kind} and _is_ours(meant or "", api_version):
            reason = f"{quoted(kind)} is not a kind; did you mean {meant}?"
            self._fault(ObjectRef("File", "", document.file), reason, document, "kind")
            return
        if kind not in _KINDS or not _is_ours(kind, api_version):
            self.skipped[_word(kind) if kind not in _KINDS else f"{kind} of {_word(str(api_version))}"] += 1
            return
        expected, parse = _KINDS[kind]
        if expected.namespaced:
            tree = _placed(tree, self.default_namespace)
        parsed = parse(tree, Origin.FILE, document.positions)
        self.faults += parsed.faults
        self.warnings += parsed.warnings
        if parsed.value is not None:
            self._keep(parsed.value, expected, document)

    def _keep(self, value: Read, kind: Kind, document: Document) -> None:
        namespace = value.namespace if isinstance(value, Pod | NetworkPolicy) else ""
        ref = ObjectRef(kind.name, namespace, value.name)
        if ref in self.found:
            self._fault(ref, "is described a second time; the first one counts", document, "metadata", "name")
            return
        if isinstance(value, Pod):
            if value.uid in self.uids:
                self._fault(
                    ref, "has the uid of another pod; it is given one of its own", document, "metadata", "uid"
                )
                value = replace(value, uid=made_uid(kind, namespace, value.name))
            self.uids.add(value.uid)
        self.found[ref] = value

    def _fault(self, ref: ObjectRef, reason: str, document: Document, *path: str) -> None:
        positions = document.positions
        position = positions.get(path) or positions.get(())
        self.faults.append(Fault(ref, path, reason, position))

    def result(self) -> ParsedCluster:
        values = self.found.values()
        namespaces = [value for value in values if isinstance(value, Namespace)]
        pods = [value for value in values if isinstance(value, Pod)]
        policies = [value for value in values if isinstance(value, NetworkPolicy)]
        named = {pod.namespace for pod in pods} | {policy.namespace for policy in policies}
        assumed = sorted(named - {namespace.name for namespace in namespaces})
        return ParsedCluster(
            cluster=Cluster.of(
                namespaces=[*namespaces, *(_assumed(name) for name in assumed)],
                pods=pods,
                policies=policies,
                nodes=[value for value in values if isinstance(value, Node)],
            ),
            faults=tuple(self.faults),
            warnings=tuple(self.warnings),
            skipped=dict(sorted(self.skipped.items())),
            assumed_namespaces=tuple(assumed),
        )


def _assumed(name: str) -> Namespace:
    return Namespace(name, {}, made_uid(NAMESPACE, "", name))


def _is_ours(kind: str, api_version: object) -> bool:
    """Whether an object of this kind is Kubernetes' own: Calico, too, has a NetworkPolicy."""
    if not isinstance(api_version, str):
        return True
    group = api_version.rpartition("/")[0]
    return group in _FORMER_GROUPS.get(kind.removesuffix("List"), _CORE)


def _word(text: str) -> str:
    """A kind or apiVersion as it is told: as it is unless it is too long to be one."""
    return text if len(text) <= _LONGEST_WORD else quoted(text)


def _placed(tree: dict[str, object], namespace: str) -> dict[str, object]:
    """The tree with a namespace, as kubectl sends it."""
    metadata = tree.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("namespace") not in (None, ""):
        return tree
    return tree | {"metadata": metadata | {"namespace": namespace}}
