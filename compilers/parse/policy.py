"""A NetworkPolicy from its tree, closed wherever it could not be read.

Knows policyTypes and its default, and which fault closes what. Knows nothing of what other objects there are.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from compilers.model.faults import Fault
from compilers.model.policy import NetworkPolicy, PolicyRule, Side
from compilers.model.selector import EVERYTHING, LabelSelector, quoted
from compilers.model.words import Direction
from compilers.parse.bounds import MOST_VALUES, holds_more
from compilers.parse.field import Field, Origin, Parsed
from compilers.parse.identity import NETWORK_POLICY, identify
from compilers.parse.places import Positions
from compilers.parse.rules import read_rules
from compilers.parse.selectors import read_selector

__all__ = ["Origin", "Parsed", "parse_policy"]

_TOP: Final = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_SPEC: Final = frozenset({"podSelector", "policyTypes", "ingress", "egress"})
_BOTH: Final = (Direction.INGRESS, Direction.EGRESS)
_DIRECTIONS: Final = {direction.value: direction for direction in _BOTH}
_NOWHERE: Final[Positions] = MappingProxyType({})


def parse_policy(tree: object, origin: Origin, positions: Positions = _NOWHERE) -> Parsed[NetworkPolicy]:
    """The policy, with every fault of the object. Never raises.

    A fault inside `ingress` or `egress` closes that direction: the side has the faults and no rules. Any other fault
    closes every direction the policy has. A podSelector that cannot be read leaves `subject` None (every pod of the
    namespace); policyTypes that cannot be read, or an unknown field in `spec`, are taken as both directions. Without a
    readable name there is no policy.
    """
    findings, identity = identify(tree, NETWORK_POLICY, origin, positions)
    if identity is None:
        return Parsed(None, tuple(findings.faults), tuple(findings.warnings))
    before = findings.count
    identity.top.fields(_TOP)
    spec = identity.top.at("spec")
    spec.fields(_SPEC)
    # An unknown field beside the known ones may be any of them misspelt (`sepc`, `policytypes`), or be new and mean
    # anything.
    every_field_known = findings.count == before
    subject = _read_subject(spec)
    named = _read_directions(spec)
    directions = named if every_field_known else _BOTH
    everywhere = tuple(findings.faults)
    read = {direction: _read_side(spec.at(direction.field), direction) for direction in _BOTH}
    policy = NetworkPolicy(
        namespace=identity.namespace,
        name=identity.name,
        uid=identity.uid,
        subject=subject,
        # API, policyTypes: rules of a direction that is not among them have no effect; their faults are told all the
        # same, because the API server would refuse the object for them.
        sides={direction: _side(everywhere, *read[direction]) for direction in directions},
        faults=tuple(findings.faults),
        positions=positions,
    )
    return Parsed(policy, policy.faults, tuple(findings.warnings))


def _read_side(field: Field, direction: Direction) -> tuple[tuple[PolicyRule, ...], tuple[Fault, ...]]:
    before = field.findings.count
    rules = read_rules(field, direction)
    return rules, field.findings.since(before)


def _side(everywhere: tuple[Fault, ...], rules: tuple[PolicyRule, ...], own: tuple[Fault, ...]) -> Side:
    faults = everywhere + own
    return Side(faults=faults) if faults else Side(rules=rules)


def _read_subject(spec: Field) -> LabelSelector | None:
    if not isinstance(spec.value, dict | None):
        return None
    field = spec.at("podSelector")
    # API, podSelector: "An empty selector matches all pods in the policy's namespace. [...] This field is optional. If
    # it is not specified, it defaults to an empty selector."
    if holds_more(field.value, MOST_VALUES):
        field.fault(f"holds more than {MOST_VALUES:,} values")
        return None
    return EVERYTHING if field.absent else read_selector(field)


def _read_directions(spec: Field) -> tuple[Direction, ...]:
    if not isinstance(spec.value, dict | None):
        return _BOTH
    types, egress = spec.at("policyTypes"), spec.at("egress")
    before = spec.findings.count
    listed = types.items()
    if len(listed) > len(_BOTH):
        types.fault("names more than two types: Ingress, Egress or both")
    named = [_read_direction(item) for item in listed[: len(_BOTH)]]
    if spec.findings.count > before:
        return _BOTH
    if named:
        return _in_order(direction for direction in named if direction is not None)
    # API, policyTypes: "If this field is not specified, it will default based on the existence of ingress or egress
    # rules; policies that contain an egress section are assumed to affect egress, and all policies (whether or not they
    # contain an ingress section) are assumed to affect ingress." The server asks for at least one rule in `egress`;
    # an `egress` that cannot be read may hold some.
    no_egress = egress.absent or egress.value == []
    return (Direction.INGRESS,) if no_egress else _BOTH


def _in_order(directions: Iterable[Direction]) -> tuple[Direction, ...]:
    found = frozenset(directions)
    return tuple(direction for direction in _BOTH if direction in found)


def _read_direction(field: Field) -> Direction | None:
    if field.absent:
        field.fault("must be Ingress or Egress, found nothing (null)")
    text = field.text()
    if text is None:
        return None
    if text not in _DIRECTIONS:
        field.fault(f"{quoted(text)} is no policy type: must be Ingress or Egress")
    return _DIRECTIONS.get(text)
