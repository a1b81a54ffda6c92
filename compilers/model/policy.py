"""A NetworkPolicy: whom it selects, which gates it isolates, what its rules admit.

Knows selectors, blocks and ports. Knows no pod: who is selected is asked with labels.
A policy never denies: it isolates, and its rules admit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from compilers.model.block import IpBlock
from compilers.model.faults import Fault, FieldPath, InvalidField, ObjectRef, Position
from compilers.model.port import PortMatch
from compilers.model.selector import LabelSelector
from compilers.model.words import Direction


@dataclass(frozen=True, slots=True)
class SelectorPeer:
    """Pods by labels: of the policy's own namespace, or of the namespaces that namespaceSelector selects.

    API: "If podSelector is also set, then the NetworkPolicyPeer as a whole selects the pods matching podSelector in the
    namespaces selected by namespaceSelector. Otherwise it selects all pods in the namespaces selected by
    namespaceSelector." Without namespaceSelector: "the pods matching podSelector in the policy's own namespace".
    None is absent; the empty selector is not.
    """

    pod_selector: LabelSelector | None
    namespace_selector: LabelSelector | None

    def __post_init__(self) -> None:
        if self.pod_selector is None and self.namespace_selector is None:
            raise InvalidField("must hold a podSelector, a namespaceSelector or an ipBlock")


Peer = SelectorPeer | IpBlock


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule: admits what matches one of `peers` AND one of `ports`.

    API, `from` and `to`: "If this field is empty or missing, this rule matches all sources" (destinations);
    `ports`: "If this field is empty or missing, this rule matches all ports (traffic not restricted by port)".
    None is missing, () is empty; both mean all.
    """

    peers: tuple[Peer, ...] | None
    ports: tuple[PortMatch, ...] | None


@dataclass(frozen=True, slots=True)
class Side:
    """What a policy says about one direction: its rules, or why they could not be read.

    A side with faults admits nothing: it isolates the policy's subjects in this direction until it is mended.
    """

    rules: tuple[PolicyRule, ...] = ()
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.faults and self.rules:
            raise InvalidField("a side that could not be read in full must not admit anything")


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """One networking.k8s.io/v1 NetworkPolicy.

    `subject` None: the selector could not be read, and every pod of the namespace is a subject (fails closed).
    `sides` holds exactly the directions in which the policy isolates.
    `faults` are all faults of the object, those of the sides included.
    """

    namespace: str
    name: str
    uid: str
    subject: LabelSelector | None
    sides: Mapping[Direction, Side] = field(hash=False)
    faults: tuple[Fault, ...] = ()
    positions: Mapping[FieldPath, Position] = field(
        default_factory=dict, hash=False, compare=False, repr=False
    )

    @property
    def ref(self) -> ObjectRef:
        """Kind, namespace and name."""
        return ObjectRef("NetworkPolicy", self.namespace, self.name)

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a pod of that namespace with these labels is a subject.

        API: "This array of rules is applied to any pods selected by this field"; a policy reaches no other namespace.
        """
        return namespace == self.namespace and (self.subject is None or self.subject.matches(labels))

    def position_of(self, path: FieldPath) -> Position | None:
        """Where the field stands in its file, or its nearest ancestor that stands there; None when not from a file."""
        while path not in self.positions:
            if not path:
                return None
            path = path[:-1]
        return self.positions[path]
