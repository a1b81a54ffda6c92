"""What a demo shows: the matrix, the denied connections and the changes, as tables or as JSON.

Knows how results are printed. Names from files go through `shown`, so a terminal never obeys them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Final

from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compilers.evaluate.decision import Verdict
from compilers.evaluate.ends import shown
from compilers.model.words import Direction
from policy_controller.cli.demo.changes import Change
from policy_controller.cli.demo.matrix import Checked
from policy_controller.testing.laboratory import NetworkKind

SCHEMA: Final = "demo/v1"
DIGITS: Final = f"123456789{ascii_lowercase}{ascii_uppercase}"
"""One for each source; with more there is no matrix."""
SEEN, EXPECTED = "seen by packets", "expected"
ALLOWED, DENIED, WRONG = "✓", "·", "✗"
STYLES: Final = {ALLOWED: "green", DENIED: "dim", WRONG: "bold red"}

Cell = dict[int, Checked]
"""What was checked for one source and service, by IP version."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that a demo found out."""

    network: NetworkKind
    nodes: Sequence[str]
    checked: Sequence[Checked]
    changes: Sequence[Change]

    @property
    def mismatches(self) -> tuple[Checked, ...]:
        """Connections of which packets saw something else than expected."""
        return tuple(one for one in self.checked if not one.agrees)

    @property
    def holds(self) -> bool:
        """Whether packets agreed everywhere, and every change reached them."""
        return not self.mismatches and all(change.packet_ms is not None for change in self.changes)


def as_tree(found: Shown) -> dict[str, Any]:
    """The JSON of `--output json`, schema demo/v1."""
    denied = {
        tuple(_denied(one).items()): _denied(one)
        for one in found.checked
        if one.decision.verdict is Verdict.DENIED and one.agrees
    }
    return {
        "schema": SCHEMA,
        "network": found.network.value,
        "nodes": list(found.nodes),
        "checked": len(found.checked),
        "mismatches": [_mismatch(one) for one in found.mismatches],
        "changes": [
            {
                "what": change.what,
                "kernel_ms": _rounded(change.kernel_ms),
                "packet_ms": _rounded(change.packet_ms),
            }
            for change in found.changes
        ],
        "denied": [{**one, "policies": list(one["policies"])} for one in denied.values()],
    }


def _connection(one: Checked) -> dict[str, Any]:
    traffic = one.decision.traffic
    protocol = traffic.protocol if isinstance(traffic.protocol, int) else traffic.protocol.value
    return {
        "source": one.source,
        "destination": str(traffic.destination),
        "protocol": protocol,
        "port": traffic.port,
    }


def _denied(one: Checked) -> dict[str, Any]:
    direction = one.decision.deciding_direction
    policies = tuple(f"{policy.namespace}/{policy.name}" for policy in one.decision.policies)
    return {
        **_connection(one),
        "direction": direction.value if direction is not None else None,
        "policies": policies,
    }


def _mismatch(one: Checked) -> dict[str, Any]:
    return {
        **_connection(one),
        "family": one.decision.traffic.family.value,
        "source_address": str(one.decision.traffic.source.address),
        "expected": one.decision.verdict.value,
        "seen": one.seen.value if one.seen is not None else None,
        "outcome": one.result.outcome.value,
        "reason": one.result.reason,
    }


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 1)


def print_tables(console: Console, found: Shown) -> None:
    """The whole report for a person."""
    _print_matrix(console, found.checked)
    _print_denied(console, found.checked)
    if found.changes:
        _print_changes(console, found.changes)
    for one in found.mismatches:
        seen = one.seen.value if one.seen is not None else one.result.outcome.value
        console.print(
            Text(
                f"mismatch: {one.decision.traffic}: expected {one.decision.verdict.value}, packets: {seen}",
                "red",
            )
        )


def _print_matrix(console: Console, checked: Sequence[Checked]) -> None:
    sources = sorted({one.source for one in checked}, key=_pods_first)
    rows: dict[str, dict[str, Cell]] = {}
    for one in checked:
        traffic = one.decision.traffic
        cells = rows.setdefault(f"{traffic.destination} {traffic.service}", {})
        cells.setdefault(one.source, {})[traffic.family.value] = one
    columns = _columns(len(sources), console.width - max(map(len, rows), default=0))
    if not columns:
        console.print(
            f"{len(sources)} sources and {len(rows)} services: too wide for a matrix, see --output json\n"
        )
        return
    table = Table(title="Who reaches whom", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("to", no_wrap=True)
    digits = DIGITS[: len(sources)]
    for column in columns:
        table.add_column(f"{column}\n{digits}", no_wrap=True)
    for name, cells in sorted(rows.items(), key=lambda row: _pods_first(row[0])):
        marked = _marks(cells.get(source, {}) for source in sources)
        expected = Text("".join(_expected(cells.get(source, {})) for source in sources))
        table.add_row(name, *(marked, expected)[: len(columns)])
    console.print(table)
    legend = Columns(
        (f"{digit} {name}" for digit, name in zip(digits, sources, strict=True)), column_first=True
    )
    console.print("from", legend, highlight=False)
    console.print(
        f"{ALLOWED} allowed, {DENIED} denied, 4 or 6 allowed by that family only, {WRONG} not as expected",
        highlight=False,
    )
    _print_other_addresses(console, checked)
    console.print()


def _columns(sources: int, room: int) -> tuple[str, ...]:
    """What the matrix shows of so many sources where there is room for so many characters beside the names.

    What packets saw has a mark of its own for what was not expected, so it also stands alone.
    """
    if sources > len(DIGITS):
        return ()
    for columns in ((SEEN, EXPECTED), (SEEN,)):
        if sum(1 + max(sources, len(column)) for column in columns) < room:
            return columns
    return ()


def _print_other_addresses(console: Console, checked: Iterable[Checked]) -> None:
    """Policies see addresses: of nodes that come with others than the API tells of, one is shown."""
    others = {
        (one.source, one.decision.traffic.family.value): str(one.decision.traffic.source.address)
        for one in checked
        if one.source != str(one.decision.traffic.source)
    }
    if others:
        first = min(source for source, _ in others)
        addresses = [address for (source, _), address in sorted(others.items()) if source == first]
        console.print(
            f"pods of other nodes see {first} as {' and '.join(addresses)}, and so on", highlight=False
        )


def _marks(cells: Iterable[Cell]) -> Text:
    text = Text()
    for cell in cells:
        mark = _mark({version: one.seen for version, one in cell.items()})
        if any(not one.agrees for one in cell.values()):
            mark = WRONG
        text.append(mark, STYLES.get(mark))
    return text


def _expected(cell: Cell) -> str:
    return _mark({version: one.decision.verdict for version, one in cell.items()})


def _mark(verdicts: Mapping[int, Verdict | None]) -> str:
    if not verdicts:
        return " "
    allowed = [version for version, verdict in verdicts.items() if verdict is Verdict.ALLOWED]
    if len(allowed) == len(verdicts):
        return ALLOWED
    return str(allowed[0]) if allowed else DENIED


def _print_denied(console: Console, checked: Iterable[Checked]) -> None:
    """A line for each gate that denied something: the pod it is of, who isolates it, and what it did not let pass."""
    grouped: dict[tuple[str, str, str], tuple[list[str], list[str]]] = {}
    for one in checked:
        direction = one.decision.deciding_direction
        if direction is None:
            continue
        traffic = one.decision.traffic
        subject, other = str(traffic.destination), one.source
        if direction is Direction.EGRESS:
            subject, other = other, subject
        policies = ", ".join(
            f"{shown(policy.namespace)}/{shown(policy.name)}" for policy in one.decision.policies
        )
        others, services = grouped.setdefault((subject, direction.field, policies), ([], []))
        others.append(other)
        services.append(traffic.service)
    if not grouped:
        return
    table = Table(
        title="Denied, and the policies that isolate", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    for column in ("pod", "gate", "isolated by", "not admitted"):
        table.add_column(column, overflow="fold")
    for (subject_name, gate, isolating), (others, services) in sorted(grouped.items()):
        word = "from" if gate == Direction.INGRESS.field else "to"
        table.add_row(subject_name, gate, isolating, f"{_few(services)} {word} {_few(others)}")
    console.print(table)
    console.print()


def _pods_first(name: str) -> tuple[bool, str]:
    return "/" not in name, name


def _few(names: Iterable[str]) -> str:
    distinct = sorted(set(names), key=_pods_first)
    return (
        ", ".join(distinct)
        if len(distinct) <= 3
        else f"{distinct[0]}, {distinct[1]} and {len(distinct) - 2} more"
    )


def _print_changes(console: Console, changes: Iterable[Change]) -> None:
    table = Table(title="Changes, made live", title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("change")
    table.add_column("connection", overflow="fold")
    table.add_column("then")
    table.add_column("kernel", justify="right", no_wrap=True)
    table.add_column("first packet", justify="right", no_wrap=True)
    for change in changes:
        table.add_row(
            change.what,
            change.pair,
            change.expected.value,
            _time(change.kernel_ms, "not seen"),
            _time(change.packet_ms, "never"),
        )
    console.print(table)
    console.print("times run from the write to the API server\n", highlight=False)


def _time(milliseconds: float | None, otherwise: str) -> str:
    return otherwise if milliseconds is None else f"{milliseconds:.0f} ms"
