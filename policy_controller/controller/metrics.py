"""The operator's Prometheus metrics, read from its parts when they are scraped.

Knows names and labels of metrics. Labels hold kinds and connected nodes, never names of policies, pods or namespaces:
whoever may read metrics need not be allowed to read those.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from compilers.model.settings import Enforcement
from policy_controller.controller.cluster_settings import ClusterSettingsSource
from policy_controller.controller.compile_loop import CompileLoop
from policy_controller.controller.complaints import invalid_policies
from policy_controller.controller.events import PolicyEvents
from policy_controller.controller.kinds import Kind
from policy_controller.controller.node_events import NodeEvents
from policy_controller.controller.relist import Relister
from policy_controller.controller.server import EnforcementServer
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStreams
from policy_controller.controller.watches import Watches

PREFIX: Final = "policy_controller"
BUCKETS: Final = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class OperatorCollector(Collector):
    """Gauges and counters that the operator's parts keep anyway."""

    def __init__(
        self,
        *,
        store: Store,
        streams: NodeStreams,
        server: EnforcementServer,
        compile_loop: CompileLoop,
        relister: Relister,
        events: PolicyEvents,
        watches: Watches,
    ) -> None:
        self._store = store
        self._streams = streams
        self._server = server
        self._compile_loop = compile_loop
        self._relister = relister
        self._events = events
        self._watches = watches

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        yield from self._cluster()
        yield from self._nodes()
        yield from self._api()

    def _cluster(self) -> Iterator[Metric]:
        objects = GaugeMetricFamily(f"{PREFIX}_objects", "Objects in the store.", labels=["kind"])
        for kind in Kind:
            objects.add_metric([kind.value], self._store.count(kind))
        yield objects
        yield _gauge("invalid_policies", "Policies with faults.", len(invalid_policies(self._store)))
        yield _gauge(
            "policies_without_room",
            "Policies that take up too much for a node, whose pods are closed.",
            len({fault.object for fault in self._compile_loop.without_room}),
        )
        yield _counter("unreadable_objects", "Objects without a readable name.", self._store.unreadable)
        yield _gauge(
            "synced",
            "1 once every kind that rule sets are made of has been listed.",
            int(self._relister.synced.is_set()),
        )
        yield _counter("compile_failures", "Rule sets that did not compile.", self._compile_loop.failures)

    def _nodes(self) -> Iterator[Metric]:
        statuses = self._streams.statuses()
        yield _gauge("connected_nodes", "Open streams.", len(statuses))
        sent = GaugeMetricFamily(f"{PREFIX}_generation_desired", "Generation last sent.", labels=["node"])
        acked = GaugeMetricFamily(f"{PREFIX}_generation_acked", "Generation in force.", labels=["node"])
        current = GaugeMetricFamily(
            f"{PREFIX}_node_current", "1 when what is in force is what is desired.", labels=["node"]
        )
        for node, status in statuses.items():
            sent.add_metric([node], status.sent)
            acked.add_metric([node], status.acked)
            current.add_metric([node], int(status.current))
        yield from (sent, acked, current)
        nacks = CounterMetricFamily(f"{PREFIX}_nacks", "Generations that nodes refused.", labels=["cause"])
        for cause, count in sorted(self._server.nacks.items()):
            nacks.add_metric([cause], count)
        ended = CounterMetricFamily(
            f"{PREFIX}_streams_ended", "Streams that the operator ended.", labels=["status"]
        )
        for code, count in sorted(self._server.ended.items()):
            ended.add_metric([code], count)
        yield from (nacks, ended)

    def _api(self) -> Iterator[Metric]:
        repairs = CounterMetricFamily(
            f"{PREFIX}_repairs",
            "Objects that a LIST put right after events were lost.",
            labels=["kind", "what"],
        )
        for (kind, what), count in sorted(self._relister.repairs.items(), key=str):
            repairs.add_metric([kind.value, what], count)
        failures = CounterMetricFamily(f"{PREFIX}_list_failures", "LISTs that failed.", labels=["kind"])
        for kind in Kind:
            failures.add_metric([kind.value], self._relister.failures[kind])
        ages = GaugeMetricFamily(
            f"{PREFIX}_list_age_seconds", "Since a kind was last listed, or since the start.", labels=["kind"]
        )
        overdue = GaugeMetricFamily(
            f"{PREFIX}_list_overdue", "1 when a kind has not been listed for too long.", labels=["kind"]
        )
        for kind in Kind:
            ages.add_metric([kind.value], self._relister.age(kind))
            overdue.add_metric([kind.value], int(self._relister.overdue(kind)))
        yield from (repairs, failures, ages, overdue)
        yield _gauge("watches", "Kinds that are being watched.", self._watches.alive)
        yield _counter("watch_restarts", "How often all watches began anew.", self._watches.restarts)
        yield _counter("events_written", "Events on invalid policies.", self._events.written)
        yield _counter("event_failures", "Events that could not be written.", self._events.failures)


class NodeEventsCollector(Collector):
    """What nodes tell of others that change their tables, and what becomes of it."""

    def __init__(self, events: NodeEvents) -> None:
        self._events = events

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        yield _counter(
            "tampered_reports", "What nodes told of others who changed tables.", self._events.heard
        )
        yield _counter("node_events_written", "Events on nodes.", self._events.written)
        yield _counter("node_events_dropped", "Events on nodes that were too many.", self._events.dropped)
        yield _counter(
            "node_event_failures", "Events on nodes that could not be written.", self._events.failures
        )


class SettingsCollector(Collector):
    """What holds for the whole cluster, and whether its ConfigMap is read."""

    def __init__(self, settings: ClusterSettingsSource, store: Store) -> None:
        self._settings = settings
        self._store = store

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        held = GaugeMetricFamily(
            f"{PREFIX}_enforcement",
            "1 for what holds in the whole cluster, 0 for all else.",
            labels=["state"],
        )
        for state in Enforcement:
            held.add_metric([state.value], int(state is self._store.settings.enforcement))
        yield held
        yield _gauge(
            "settings_invalid", "1 while their ConfigMap is not understood.", int(self._settings.invalid)
        )
        yield _counter(
            "settings_failures", "Times that their ConfigMap could not be read.", self._settings.failures
        )


def new_registry(collectors: Iterable[Collector], compile_loop: CompileLoop) -> CollectorRegistry:
    """A registry of its own, so that two operators in one process do not share metrics."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    seconds = Histogram(
        f"{PREFIX}_compile_seconds", "One round of compiling.", buckets=BUCKETS, registry=registry
    )
    compile_loop.subscribe(seconds.observe)
    return registry


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{PREFIX}_{name}", documentation, value=value)


def _counter(name: str, documentation: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}_{name}", documentation, value=value)
