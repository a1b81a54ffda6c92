"""What the reference evaluator says of every pair in every state of the cluster there was.

Knows clusters and the judge of compilers/evaluate. Also knows a pod that left the API while it still runs: what its gates, and
those it met, denied when it left and would still deny today stays denied; of all else nobody can say. Pure.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Final

from compilers.evaluate.judge import judge
from compilers.evaluate.traffic import traffic_between
from compilers.model.cluster import Cluster, Pod
from compilers.model.policy import NetworkPolicy
from compilers.model.words import Address, Direction, Protocol
from policy_controller.testing.chaos.judge import Expected


class Service(enum.Enum):
    """What is asked for."""

    UDP_53 = (Protocol.UDP, 53)
    UDP_80 = (Protocol.UDP, 80)
    UDP_443 = (Protocol.UDP, 443)
    UDP_8080 = (Protocol.UDP, 8080)
    TCP_80 = (Protocol.TCP, 80)

    @property
    def protocol(self) -> Protocol:
        """UDP or TCP."""
        return self.value[0]

    @property
    def port(self) -> int:
        """The number of the port."""
        return self.value[1]


SERVICES: Final = tuple(Service)
FAMILIES: Final = 2
"""IPv4, then IPv6."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A pod that was probed. `addresses` are one of each family, IPv4 first."""

    number: int
    namespace: str
    name: str
    uid: str
    node: str
    addresses: tuple[Address, Address]


class Gates(enum.IntFlag):
    """Which gates deny; none: allowed."""

    NONE = 0
    EGRESS = 1
    INGRESS = 2


EXPECTED: Final[Mapping[Gates | None, Expected]] = {
    None: Expected.EITHER,
    Gates.NONE: Expected.ALLOWED,
    Gates.EGRESS: Expected.DENIED,
    Gates.INGRESS: Expected.DENIED,
    Gates.EGRESS | Gates.INGRESS: Expected.DENIED,
}

Question = tuple[int, int, int, int]
"""Numbers of source and destination, family (0: IPv4), number of the service."""


@dataclass(frozen=True, slots=True)
class _State:
    """One state with the pods that have departed and whose addresses nobody else has.

    `there` are the uids of pods that are members, `versions` a number for each uid in `pods` that stands for all that decides about
    a pod: it is another when the pod, its namespace's labels or its namespace's policies are.
    """

    cluster: Cluster
    there: frozenset[str]
    pods: frozenset[str]
    versions: Mapping[str, int]


class Verdicts:
    """Of these states, in order, and of these residents."""

    def __init__(self, clusters: Sequence[Cluster], residents: Sequence[Resident]) -> None:
        self._residents = {resident.number: resident for resident in residents}
        self._states = tuple(_states(clusters, frozenset(resident.uid for resident in residents)))
        self._known: dict[tuple[Question, int, int], Gates] = {}

    def of(self, question: Question) -> list[Expected]:
        """What each state says."""
        source, destination = (self._residents[number] for number in question[:2])
        uids = frozenset({source.uid, destination.uid})
        course: list[Gates | None] = []
        for state in self._states:
            before = course[-1] if course else None
            there = uids <= state.pods
            course.append(self._gates(state, source, destination, question, before) if there else None)
        return [EXPECTED[gates] for gates in course]

    def _gates(
        self, state: _State, source: Resident, destination: Resident, question: Question, before: Gates | None
    ) -> Gates | None:
        """Which gates deny in a state that knows both ends; `before`: in the state before."""
        key = (question, state.versions[source.uid], state.versions[destination.uid])
        if key not in self._known:
            self._known[key] = _judged(state.cluster, source, destination, question)
        said = self._known[key]
        if source.uid in state.there and destination.uid in state.there:
            return said
        # One of them has departed: what was denied and would be today is all that can be told.
        return (before or Gates.NONE) & said or None


def _judged(cluster: Cluster, source: Resident, destination: Resident, question: Question) -> Gates:
    _, _, family, number = question
    service = SERVICES[number]
    ends = (source.addresses[family], destination.addresses[family])
    gates = judge(cluster, traffic_between(cluster, *ends, service.protocol, service.port)).gates
    denying = {Direction.EGRESS: Gates.EGRESS, Direction.INGRESS: Gates.INGRESS}
    return reduce(or_, (denying[one] for one in Direction if not gates[one].lets_pass), Gates.NONE)


def _states(clusters: Sequence[Cluster], probed: frozenset[str]) -> Iterator[_State]:
    last: dict[str, Pod] = {}
    numbers: dict[str, tuple[object, int]] = {}
    for cluster in clusters:
        members = {pod.uid: pod for pod in cluster.owners.values() if pod.uid in probed}
        last |= members
        departed = [
            pod
            for uid, pod in last.items()
            if uid not in members and cluster.owners.keys().isdisjoint(pod.addresses)
        ]
        left = {pod.uid for pod in departed}
        haunted = replace(
            cluster,
            pods=Cluster.of(pods=[*(pod for pod in cluster.pods if pod.uid not in left), *departed]).pods,
        )
        pods = {pod.uid: pod for pod in haunted.pods if pod.uid in probed}
        for uid, pod in pods.items():
            decides = (pod, haunted.namespaces.get(pod.namespace), _policies(haunted, pod.namespace))
            held, number = numbers.get(uid, (None, -1))
            if held != decides:
                numbers[uid] = (decides, number + 1)
        known = frozenset(members) | left
        yield _State(haunted, frozenset(members), known, {uid: numbers[uid][1] for uid in known})


def _policies(cluster: Cluster, namespace: str) -> tuple[NetworkPolicy, ...]:
    return tuple(policy for policy in cluster.policies if policy.namespace == namespace)
