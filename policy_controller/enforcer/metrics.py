"""What this enforcer tells Prometheus: numbers without names of anybody's objects.

Knows names and units of metrics. Knows nothing of how the numbers come about.
"""

from collections.abc import Collection, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from compilers.model.settings import Enforcement
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.bounds import Bound
from policy_controller.enforcer.disk import DiskTrouble
from policy_controller.enforcer.kernel import Occasion, Phase
from policy_controller.enforcer.obstacles import Obstacle
from policy_controller.hits import Hits
from policy_controller.logs import lines_left_out
from policy_controller.wire.messages import NackCause
from policy_controller.wire.saved import Flaw

PREFIX: Final = "policy_enforcer"
SECONDS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
MOST_NAMES: Final = 20
"""Processes that are counted by name; names are whatever a process likes, so all later ones are counted together."""
OTHERS: Final = "others"


class Metrics:
    """One registry of its own, so that two enforcers in one program do not meet."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.hits: Final = Hits(PREFIX, Bound)
        """How often each bound was met."""
        self._registry.register(self.hits)
        self.hits.read(Bound.LOG_LINES, lines_left_out)
        self._generation = Gauge(f"{PREFIX}_generation", "Generation in force", registry=self._registry)
        self._connected = Gauge(
            f"{PREFIX}_connected", "1 while a stream to the operator stands", registry=self._registry
        )
        self._pods = Gauge(f"{PREFIX}_pods", "Pods of the generation in force", registry=self._registry)
        self._enforcement = Gauge(
            f"{PREFIX}_enforcement",
            "1 for what the generation in force says of the cluster, 0 for anything else",
            ["state"],
            registry=self._registry,
        )
        self._waiting = Gauge(
            f"{PREFIX}_pods_waiting", "Pods of it without an address", registry=self._registry
        )
        self._overdue = Gauge(
            f"{PREFIX}_pods_overdue",
            "Pods without an address for too long to close unknown addresses",
            registry=self._registry,
        )
        self._seconds = Histogram(
            f"{PREFIX}_apply_seconds",
            "Time of a phase in the kernel",
            ["phase"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._commands = Counter(
            f"{PREFIX}_commands", "Commands committed", ["phase"], registry=self._registry
        )
        self._nacks = Counter(
            f"{PREFIX}_nacks", "Generations not put in force", ["cause"], registry=self._registry
        )
        self._left_out = Gauge(
            f"{PREFIX}_objects_refused",
            "Objects of the generation in force that the kernel does not take: the gates that need them are closed",
            registry=self._registry,
        )
        self._differences = Counter(
            f"{PREFIX}_differences",
            "Objects that were read back other than committed",
            registry=self._registry,
        )
        self._ended = Counter(
            f"{PREFIX}_connections_ended",
            "Connections ended because an address changed hands",
            registry=self._registry,
        )
        self._cut = Counter(
            f"{PREFIX}_connections_cut",
            "Connections ended because a change denied them where such are to be cut",
            registry=self._registry,
        )
        self._cut_seconds = Histogram(
            f"{PREFIX}_cut_seconds",
            "From when a change was in force until the connections that it denied were cut",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._lingered = Counter(
            f"{PREFIX}_connections_lingered",
            "Attempts to end connections that failed",
            registry=self._registry,
        )
        self._failures = Counter(
            f"{PREFIX}_stream_failures",
            "Streams to the operator that ended or did not come about",
            ["reason"],
            registry=self._registry,
        )
        self._departed = Gauge(
            f"{PREFIX}_departed_addresses",
            "Addresses of isolated pods that left the API and are still on the node: their gates stay",
            registry=self._registry,
        )
        self._saves = Histogram(
            f"{PREFIX}_save_seconds",
            "Time to write the saved rule set",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._saved_bytes = Gauge(
            f"{PREFIX}_saved_bytes",
            "Size of the saved rule set as it was last written",
            registry=self._registry,
        )
        self._unsaved = Gauge(
            f"{PREFIX}_unsaved_seconds",
            "For how long writing the saved rule set has failed; 0 while it does not",
            registry=self._registry,
        )
        self._save_failures = Counter(
            f"{PREFIX}_save_failures",
            "Attempts to write the saved rule set that failed",
            ["reason"],
            registry=self._registry,
        )
        self._saved_refused = Counter(
            f"{PREFIX}_saved_refused",
            "Saved rule sets that were found and not used",
            ["reason"],
            registry=self._registry,
        )
        for trouble in DiskTrouble:
            self._save_failures.labels(trouble.value)
        for flaw in Flaw:
            self._saved_refused.labels(flaw.value)
        self._tampered = Counter(
            f"{PREFIX}_tampered",
            "Changes of our tables by others that were mended, by the name of the process",
            ["process"],
            registry=self._registry,
        )
        self._names: set[str] = set()
        self._mended = Histogram(
            f"{PREFIX}_mend_seconds",
            "From when a change by others was told until it was mended",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._comparisons = Counter(
            f"{PREFIX}_comparisons",
            "Looks at the tables, by why",
            ["occasion"],
            registry=self._registry,
        )
        self._lost = Counter(
            f"{PREFIX}_notifications_lost",
            "How often the kernel told more than was read",
            registry=self._registry,
        )
        self._missing = Gauge(
            f"{PREFIX}_conditions_missing",
            "Things that enforcement needs of the node and that are not there",
            registry=self._registry,
        )
        for state in Enforcement:
            self._enforcement.labels(state.value)
        for occasion in Occasion:
            self._comparisons.labels(occasion.value)
        for cause in NackCause:
            self._nacks.labels(cause.value)
        for obstacle in Obstacle:
            self._failures.labels(obstacle.value)

    def text(self) -> bytes:
        """The metrics in the text format of Prometheus."""
        return generate_latest(self._registry)

    def applied(self, phases: Iterable[Phase]) -> None:
        """Phases were committed."""
        for phase in phases:
            self._seconds.labels(phase.name).observe(phase.seconds)
            self._commands.labels(phase.name).inc(phase.commands)

    def in_force(self, generation: int, rule_set: RuleSet, waiting: int) -> None:
        """A generation is in force."""
        self._generation.set(generation)
        self._pods.set(len(rule_set.pods))
        for state in Enforcement:
            self._enforcement.labels(state.value).set(int(state is rule_set.enforcement))
        self._waiting.set(waiting)

    def nacked(self, cause: NackCause) -> None:
        """A generation was not put in force."""
        self._nacks.labels(cause.value).inc()

    def refused(self, objects: Collection[object]) -> None:
        """These objects of the generation in force are left out."""
        self._left_out.set(len(objects))

    def differed(self, objects: int) -> None:
        """So many objects were read back other than they should be."""
        self._differences.inc(objects)

    def tampered(self, process: str) -> None:
        """A process of this name changed our tables; it has been mended."""
        if process not in self._names and len(self._names) >= MOST_NAMES:
            process = OTHERS
        self._names.add(process)
        self._tampered.labels(process).inc()

    def mended(self, seconds: float) -> None:
        """What somebody changed was mended so many seconds after it was told."""
        self._mended.observe(seconds)

    def compared(self, occasion: Occasion) -> None:
        """The tables are being looked at."""
        self._comparisons.labels(occasion.value).inc()

    def notifications_lost(self) -> None:
        """The kernel told more than was read."""
        self._lost.inc()

    def missing(self, conditions: int) -> None:
        """So many things that enforcement needs of the node are not there."""
        self._missing.set(conditions)

    def connections_ended(self, connections: int) -> None:
        """So many connections were ended because an address changed hands."""
        self._ended.inc(connections)

    def connections_cut(self, connections: int, seconds: float) -> None:
        """So many connections that a change denied were cut, so long after it was in force."""
        self._cut.inc(connections)
        self._cut_seconds.observe(seconds)

    def connections_lingered(self) -> None:
        """An attempt to end connections failed."""
        self._lingered.inc()

    def departed(self, addresses: int) -> None:
        """So many addresses keep their gates though their pods have left the API."""
        self._departed.set(addresses)

    def connected(self, streams: int) -> None:
        """So many streams stand: 0 or 1."""
        self._connected.set(streams)

    def stream_failed(self, obstacle: Obstacle) -> None:
        """A stream to the operator has ended or did not come about."""
        self._failures.labels(obstacle.value).inc()

    def saved(self, seconds: float, size: int) -> None:
        """What is in force was written to its file of so many bytes."""
        self._saves.observe(seconds)
        self._saved_bytes.set(size)

    def save_failed(self, trouble: DiskTrouble) -> None:
        """It could not be written."""
        self._save_failures.labels(trouble.value).inc()

    def unsaved(self, seconds: float) -> None:
        """Writing it has failed for so long."""
        self._unsaved.set(seconds)

    def saved_refused(self, flaw: Flaw) -> None:
        """A saved rule set was found and must not be used."""
        self._saved_refused.labels(flaw.value).inc()

    def overdue(self, pods: int) -> None:
        """So many pods have been without an address for too long to close unknown addresses."""
        self._overdue.set(pods)
