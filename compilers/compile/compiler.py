"""The compiler: a node's pods, their classes, and every set that these refer to.

Knows which policies select which pods, and what a node has room for. Knows nothing of what a rule admits
(admission.py), of how a selector finds its members (selection.py) or of how a kernel holds a class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain

from compilers.compile.admission import Admission, Admissions
from compilers.compile.legend import Legends
from compilers.compile.outline import Outline, outline
from compilers.compile.room import MOST_PODS, ROOMS, WORDS, Rooms, closed
from compilers.compile.selection import NodePods, Picked, Selection
from compilers.model.cluster import Cluster
from compilers.model.faults import Fault, ObjectRef
from compilers.model.settings import Enforcement, ExistingConnections
from compilers.model.words import Direction
from compilers.ruleset.parts import PodEntry, PolicyClass
from compilers.ruleset.rule_set import RuleSet

ClassKey = tuple[Direction, tuple[int, ...]]
"""A direction and the policies that select a pod in it, by their place in the cluster state."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A node's rule set, and for each class that is closed for want of room a fault of its heaviest policy."""

    rule_set: RuleSet
    faults: tuple[Fault, ...] = ()
    shut: frozenset[ObjectRef] = frozenset()
    """The policies of those classes."""


class Compiler:
    """Compiles the rule set of any node of one cluster state; nodes share what was found for another."""

    def __init__(self, cluster: Cluster, rooms: Rooms = ROOMS) -> None:
        self._cluster = cluster
        self._rooms = rooms
        self._selection = Selection(cluster)
        self._admissions = Admissions(self._selection)
        self._legends = Legends(self._selection)
        self._outlines: dict[ClassKey, Outline] = {}
        self._policies: dict[str, list[int]] = {}
        for number, policy in enumerate(cluster.policies):
            self._policies.setdefault(policy.namespace, []).append(number)

    def node(self, name: str) -> RuleSet:
        """The rule set of a node; a node without pods has an empty one."""
        return self.compiled(name).rule_set

    def compiled(self, name: str) -> Compiled:
        """The same, and which policies took up too much room."""
        node = self._selection.on_node(name)
        places = self._gated(node)
        gates = self._gates(node, places)
        outlines = {key: self._outline(key, node) for of_pod in gates.values() for key in of_pod.values()}
        faults = _without_room(outlines, name, self._rooms)
        classes = {key: one.shut() if key in faults else one.whole() for key, one in outlines.items()}
        kept = Admission()
        for key, one in outlines.items():
            if key not in faults:
                kept.add(one.admitted)
        sets = {**kept.peers, **kept.ports}.values()
        members = {place for one in sets for place in one.picked.places()}
        rule_set = RuleSet.of(
            name,
            peer_sets=map(self._selection.peer_set, kept.peers.values()),
            port_sets=map(self._selection.port_set, kept.ports.values()),
            block_sets=kept.blocks.values(),
            classes={one.name: one for one in classes.values()}.values(),
            pods=[self._entry(place, gates[place], classes) for place in places],
            legend=self._legends.of(places, members),
            enforcement=self._cluster.settings.enforcement,
        )
        shut = frozenset(policy for key in faults for policy in outlines[key].policies)
        return Compiled(rule_set, tuple(sorted(set(faults.values()))), shut)

    def nodes_of(self, policy: ObjectRef) -> tuple[str, ...] | None:
        """The nodes with pods that a policy isolates, sorted; None when this cluster state has no such policy."""
        number = self._numbers.get(policy)
        if number is None:
            return None
        found = self._cluster.policies[number]
        return self._selection.nodes_of(found) if found.sides else ()

    @cached_property
    def _numbers(self) -> Mapping[ObjectRef, int]:
        return {policy.ref: number for number, policy in enumerate(self._cluster.policies)}

    def _gated(self, node: NodePods) -> tuple[int, ...]:
        """The places of the pods that get gates."""
        pods, addresses = self._selection.pods, self._selection.addresses
        places = [place for place in node.places if self._selection.has_gates(place)]
        if len(places) <= MOST_PODS:
            return tuple(places)
        # A node runs a few hundred. The rest were bound to it by name and never get an address.
        operators = self._selection.operators
        places.sort(
            key=lambda place: (
                place not in operators,
                not addresses[place],
                pods[place].created,
                pods[place].uid,
            )
        )
        return tuple(sorted(places[:MOST_PODS]))

    def _gates(self, node: NodePods, places: tuple[int, ...]) -> Mapping[int, Mapping[Direction, ClassKey]]:
        """The class of each isolated gate, by the pod's place."""
        if self._cluster.settings.enforcement is Enforcement.OFF:
            return {place: {} for place in places}
        # Policies that select the same pods of the node go together: there may be thousands of them.
        groups: dict[tuple[Direction, Picked], list[int]] = {}
        numbers = [number for namespace in node.of_namespace for number in self._policies.get(namespace, ())]
        for number in numbers:
            policy = self._cluster.policies[number]
            picked = self._selection.subjects(policy, node)
            for direction in policy.sides:
                groups.setdefault((direction, picked), []).append(number)
        selecting: dict[int, dict[Direction, list[int]]] = {place: {} for place in places}
        members = list(groups.values())
        for index, (direction, picked) in enumerate(groups):
            for place in picked.places():
                if place in selecting:
                    selecting[place].setdefault(direction, []).append(index)

        @cache
        def key(direction: Direction, chosen: tuple[int, ...]) -> ClassKey:
            return direction, tuple(sorted(chain.from_iterable(members[index] for index in chosen)))

        return {
            place: {direction: key(direction, tuple(chosen)) for direction, chosen in gates.items()}
            for place, gates in selecting.items()
        }

    def _outline(self, key: ClassKey, node: NodePods) -> Outline:
        if key in self._outlines:
            return self._outlines[key]
        direction, numbers = key
        policies = tuple(self._cluster.policies[number] for number in numbers)
        found = outline(self._admissions, direction, policies, node, self._rooms.of_class)
        if not found.admitted.of_node:
            self._outlines[key] = found
        return found

    def _entry(
        self, place: int, gates: Mapping[Direction, ClassKey], classes: Mapping[ClassKey, PolicyClass]
    ) -> PodEntry:
        pod = self._selection.pods[place]
        names = {direction: classes[key].name for direction, key in gates.items()}
        return PodEntry(
            uid=pod.uid,
            namespace=pod.namespace,
            name=pod.name,
            addresses=self._selection.addresses[place],
            ingress=names.get(Direction.INGRESS),
            egress=names.get(Direction.EGRESS),
            # A pod that nobody isolates is denied nothing: its node need not hear of a choice.
            existing=self._cluster.existing_connections_in(pod.namespace)
            if names
            else ExistingConnections.KEEP,
        )


def _without_room(outlines: Mapping[ClassKey, Outline], node: str, rooms: Rooms) -> Mapping[ClassKey, Fault]:
    """The classes that are closed because they take up too much, by themselves or beside the others of the node."""
    faults: dict[ClassKey, Fault] = {}
    for key, one in outlines.items():
        if one.beyond is not None:
            faults[key] = _fault(
                one, f"have more than {getattr(rooms.of_class, one.beyond):,} {WORDS[one.beyond]} together"
            )
    loads = {key: one.load() for key, one in outlines.items() if key not in faults}
    order = {key: "\0".join((key[0].value, *map(str, outlines[key].policies))) for key in loads}
    for key, beyond in closed(loads, order, rooms.of_node).items():
        most = getattr(rooms.of_node, beyond)
        reason = (
            f"and those of the other pods of node {node} have more than {most:,} {WORDS[beyond]} together"
        )
        faults[key] = _fault(outlines[key], reason)
    return faults


def _fault(one: Outline, reason: str) -> Fault:
    count = len(one.policies)
    whose = "this policy" if count == 1 else f"the {count:,} policies that select the same pods"
    consequence = f"until there are fewer, these pods admit no {one.direction.field} at all"
    return Fault(one.heaviest, ("spec", one.direction.field), f"{whose} {reason}: {consequence}")


def compile_nodes(cluster: Cluster) -> Mapping[str, RuleSet]:
    """The rule set of every node that the cluster names, by name."""
    compiler = Compiler(cluster)
    names = set(cluster.nodes) | {pod.node for pod in cluster.pods if pod.node is not None}
    return {name: compiler.node(name) for name in sorted(names)}
