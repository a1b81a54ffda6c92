"""The plan of a chaos: which faults and changes there will be and when, before anything is started.

A pure function of seed, length, network and number of nodes. What a step does in detail it draws from its own number.
Knows words and times. Knows nothing of how a fault is done.
"""

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import msgspec

from policy_controller.testing.generators import seeded
from policy_controller.testing.laboratory import NetworkKind

SCHEMA: Final = "chaos-plan/v1"


class Phase(enum.Enum):
    """What may be asked of the installation while a step lasts."""

    STORM = "storm"
    """News may not get through: what changes now is in force one second after everything works again."""
    SETTLE = "settle"
    """Everything has to work again before the next step."""
    CALM = "calm"
    """Every change is in force within a second."""


class Kind(enum.Enum):
    """What a step does; the value is the word of the plan and of the count."""

    OPERATOR_KILLED = "operator killed"
    OPERATOR_TERMINATED = "operator terminated"
    ALL_OPERATORS_KILLED = "all operators killed"
    ENFORCER_KILLED = "enforcer killed"
    ENFORCER_TERMINATED = "enforcer terminated"
    ENFORCER_KILLED_APPLYING = "enforcer killed while it applies"
    ENFORCER_PAUSED = "enforcer paused"
    NODE_RESTARTED = "node restarted"
    SAVED_TRUNCATED = "saved rule set truncated"
    SAVED_REMOVED = "saved rule set removed"
    API_REFUSES = "API server refuses"
    API_HANGS = "API server hangs"
    API_RESETS = "API server resets"
    WATCHES_END = "watches end"
    WATCHES_EXPIRE = "watches expire"
    HALF_LIST = "half of a list"
    STALE_LIST = "list of an older state"
    EVENTS_LOST = "events lost"
    EVENTS_REPEATED = "events repeated"
    EVENTS_SWAPPED = "events swapped"
    REPLICA_LAGS = "a replica lags"
    STREAM_CUT = "stream cut"
    STREAM_SLOW = "stream slow"
    TABLE_DELETED = "our table deleted"
    RULES_FLUSHED = "our rules flushed"
    GATES_FLUSHED = "our gates flushed"
    RULE_INSERTED = "a rule inserted"
    ELEMENT_ADDED = "an element added"
    TABLES_DELETED = "both our tables deleted"
    FOREIGN_RELOADED = "foreign tables reloaded"
    BRIDGE_FILTER_OFF = "br_netfilter off"
    MALFORMED_POLICY = "malformed policy"
    HOSTILE_NAMES = "hostile names"
    FORCE_DELETED = "pod force-deleted while it runs"
    ADDRESS_REUSED = "address reused at once"
    POD_COMPLETES = "pod completes"
    POLICY_TOUCHED = "policy changed where nobody is asked"
    POLICY_REPLACED = "policy replaced"
    POLICY_REMOVED = "policy removed"
    POLICY_ADDED = "policy added"
    POD_LABELLED = "pod labels changed"
    NAMESPACE_LABELLED = "namespace labels changed"
    POD_REPLACED = "pod replaced"
    ALL_WORKS = "all works again"


STORM: Final[Mapping[Kind, int]] = {
    Kind.OPERATOR_KILLED: 3,
    Kind.OPERATOR_TERMINATED: 2,
    Kind.ALL_OPERATORS_KILLED: 2,
    Kind.ENFORCER_KILLED: 3,
    Kind.ENFORCER_TERMINATED: 2,
    Kind.ENFORCER_KILLED_APPLYING: 4,
    Kind.ENFORCER_PAUSED: 2,
    Kind.NODE_RESTARTED: 2,
    Kind.SAVED_TRUNCATED: 2,
    Kind.SAVED_REMOVED: 1,
    Kind.API_REFUSES: 5,
    Kind.API_HANGS: 2,
    Kind.API_RESETS: 2,
    Kind.WATCHES_END: 3,
    Kind.WATCHES_EXPIRE: 3,
    Kind.HALF_LIST: 2,
    Kind.STALE_LIST: 2,
    Kind.EVENTS_LOST: 3,
    Kind.EVENTS_REPEATED: 1,
    Kind.EVENTS_SWAPPED: 1,
    Kind.REPLICA_LAGS: 2,
    Kind.STREAM_CUT: 3,
    Kind.STREAM_SLOW: 2,
}
"""Faults that may keep news from nodes, and how many of each are in a deck."""

CALM: Final[Mapping[Kind, int]] = {
    Kind.TABLE_DELETED: 2,
    Kind.RULES_FLUSHED: 1,
    Kind.GATES_FLUSHED: 1,
    Kind.RULE_INSERTED: 2,
    Kind.ELEMENT_ADDED: 1,
    Kind.TABLES_DELETED: 1,
    Kind.FOREIGN_RELOADED: 5,
    Kind.BRIDGE_FILTER_OFF: 1,
    Kind.MALFORMED_POLICY: 2,
    Kind.HOSTILE_NAMES: 2,
    Kind.FORCE_DELETED: 2,
    Kind.ADDRESS_REUSED: 1,
    Kind.POD_COMPLETES: 1,
}
"""Faults during which everybody hears the news at once."""

CHANGES: Final[Mapping[Kind, int]] = {
    Kind.POLICY_REPLACED: 4,
    Kind.POLICY_REMOVED: 1,
    Kind.POLICY_ADDED: 1,
    Kind.POD_LABELLED: 4,
    Kind.NAMESPACE_LABELLED: 1,
    Kind.POD_REPLACED: 1,
}
"""What happens in any cluster; no fault."""

STORM_CHANGES: Final[Mapping[Kind, int]] = {
    Kind.POLICY_TOUCHED: 6,
    Kind.POLICY_REPLACED: 1,
    Kind.POD_LABELLED: 1,
}
"""The same in a storm. It is long until a change that a storm holds up is surely in force: few may turn verdicts."""

ON_BRIDGES: Final = frozenset({Kind.BRIDGE_FILTER_OFF})
"""Where pods are not on a bridge, this is nothing."""

FAULTS: Final = frozenset({*STORM, *CALM})

SPOILS_SAVED: Final = frozenset({Kind.SAVED_TRUNCATED, Kind.SAVED_REMOVED})
"""With an API server that breaks its word meanwhile (a LIST of an older state), a node may be led back: docs/decisions/never-back.md."""

STORM_FAULTS, CALM_FAULTS = 5, 6
"""Of a round; with a change each."""
STORM_MS, CALM_MS = 700, 2000
"""Between the beginnings of two steps, at least."""
QUIET_MS: Final = 1200
"""At the beginning, and after everything works again: what a storm held back is in force by then."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault or change, `at_ms` after the beginning; later by as much as what came before it took longer."""

    at_ms: int
    phase: Phase
    kind: Kind
    draw: int
    """What it takes its chances from."""


class Deck:
    """Kinds dealt in an order of chance, each as often as it is in the deck, again and again."""

    def __init__(self, rng: Random, cards: Mapping[Kind, int]) -> None:
        self._rng = rng
        self._cards = tuple(kind for kind, count in cards.items() for _ in range(count))
        self._left: list[Kind] = []

    def deal(self) -> Kind:
        """The next card."""
        if not self._left:
            self._left = list(self._cards)
            self._rng.shuffle(self._left)
        return self._left.pop()


@dataclass(frozen=True, slots=True)
class Decks:
    """What rounds are dealt from."""

    storm: Deck
    storm_changes: Deck
    calm: Deck
    changes: Deck


def plan(seed: int, seconds: float, network: NetworkKind) -> tuple[Step, ...]:
    """All steps of a chaos of this length, in order; every round ends with everything working again."""
    rng = seeded(seed)
    calm = {
        kind: count
        for kind, count in CALM.items()
        if network is not NetworkKind.ROUTED or kind not in ON_BRIDGES
    }
    decks = Decks(Deck(rng, STORM), Deck(rng, STORM_CHANGES), Deck(rng, calm), Deck(rng, CHANGES))
    steps: list[Step] = []
    now = QUIET_MS
    while now < seconds * 1000:
        for phase, kind in _round(rng, decks):
            now += {Phase.STORM: STORM_MS, Phase.SETTLE: QUIET_MS, Phase.CALM: CALM_MS}[phase]
            steps.append(Step(now, phase, kind, rng.getrandbits(32)))
    return tuple(step for step in steps if step.at_ms < seconds * 1000)


def _round(rng: Random, decks: Decks) -> Iterator[tuple[Phase, Kind]]:
    storm = [decks.storm.deal() for _ in range(STORM_FAULTS)]
    if not SPOILS_SAVED.isdisjoint(storm):
        storm = [Kind.WATCHES_EXPIRE if kind is Kind.STALE_LIST else kind for kind in storm]
    storm.insert(rng.randint(1, len(storm)), decks.storm_changes.deal())
    calm = [decks.calm.deal() for _ in range(CALM_FAULTS)]
    calm.insert(rng.randint(0, len(calm)), decks.changes.deal())
    yield from ((Phase.STORM, kind) for kind in storm)
    yield Phase.SETTLE, Kind.ALL_WORKS
    yield from ((Phase.CALM, kind) for kind in calm)


def document(seed: int, seconds: float, network: NetworkKind, steps: Sequence[Step]) -> bytes:
    """The plan as JSON: what `policyctl chaos --plan` prints."""
    shown: list[dict[str, Any]] = [
        {"at_ms": step.at_ms, "phase": step.phase.value, "kind": step.kind.value, "draw": step.draw}
        for step in steps
    ]
    whole = {"schema": SCHEMA, "seed": seed, "seconds": seconds, "network": network.value, "steps": shown}
    return msgspec.json.format(msgspec.json.encode(whole), indent=1)
