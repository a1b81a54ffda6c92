"""docs/limits.md speaks of what is there: each limit names a setting with its default, a metric, and a test that met it."""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import generate_latest

from policy_controller.controller.bounds import Bound as OperatorBound
from policy_controller.controller.operator import Operator
from policy_controller.controller.settings import TABLE as OPERATOR
from policy_controller.controller.settings import Settings
from policy_controller.enforcer.bounds import Bound as EnforcerBound
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.settings import TABLE as ENFORCER
from policy_controller.settings.table import Table
from policy_controller.testing.clock import FakeClock

PAGE: Final = Path(__file__).parents[3] / "docs" / "limits.md"
NONE: Final = "none"
AT_ENFORCER: Final = "At an enforcer"
OF_BOTH: Final = "Of both programs"
HITS: Final = re.compile(r"`limit_hits\{(?P<limit>[a-z-]+)\}`")
METRIC: Final = re.compile(r"`(?P<name>policy_(?:controller|enforcer)_[a-z_]+)`")


@dataclass(frozen=True)
class Row:
    section: str
    what: str
    most: str
    setting: str
    metric: str
    then: str
    seen_by: str

    @property
    def tables(self) -> tuple[Table[Any], ...]:
        """Of the programs that keep this limit."""
        return {AT_ENFORCER: (ENFORCER,), OF_BOTH: (OPERATOR, ENFORCER)}.get(self.section, (OPERATOR,))


def rows() -> list[Row]:
    found, section = [], ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith("| what |"):
            found.append(Row(section, *(cell.strip() for cell in line.strip("|").split("|"))))
    return found


ROWS: Final = rows()
every_row = pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])


@pytest.fixture(scope="module")
def metrics() -> dict[str, str]:
    """What each program tells, by its prefix."""

    async def operator() -> str:
        return generate_latest(Operator(Settings(), FakeClock()).registry()).decode()

    return {OPERATOR.program: asyncio.run(operator()), ENFORCER.program: Metrics().text().decode()}


@every_row
def test_a_setting_that_is_named_is_there_and_its_default_is_what_the_page_says(row: Row) -> None:
    if row.setting == NONE:
        return
    for table in row.tables:
        (setting,) = (one for one in table.rows() if f"`{one.key}`" == row.setting)
        assert isinstance(setting.default, str)
        assert f"{int(setting.default):,}" in re.findall(r"[\d,]+", row.most)


@every_row
def test_a_metric_that_is_named_is_there(row: Row, metrics: dict[str, str]) -> None:
    told = [metrics[table.program] for table in row.tables]
    if found := HITS.fullmatch(row.metric):
        for text in told:
            assert f'limit_hits_total{{limit="{found["limit"]}"}}' in text
    elif named := METRIC.fullmatch(row.metric):
        assert any(
            re.search(rf"^# TYPE {named['name'].removesuffix('_total')}(_total)? ", text, re.MULTILINE)
            for text in told
        )
    else:
        assert row.metric == NONE


@every_row
def test_a_limit_that_nobody_saw_met_says_so(row: Row) -> None:
    """That the named test exists, test_documents.py sees."""
    assert re.fullmatch(r"`\w+/test_\w+\.py::test_\w+`", row.seen_by) or row.seen_by == NONE
    assert row.then


def test_every_limit_that_is_counted_has_a_row() -> None:
    for table, bounds in ((OPERATOR, OperatorBound), (ENFORCER, EnforcerBound)):
        told = {
            found["limit"] for row in ROWS if table in row.tables and (found := HITS.fullmatch(row.metric))
        }
        assert told == {bound.value for bound in bounds}


def test_every_setting_of_a_limit_has_a_row() -> None:
    limits = {row.key for table in (OPERATOR, ENFORCER) for row in table.rows() if row.key.startswith("max")}
    assert {f"`{key}`" for key in limits} <= {row.setting for row in ROWS}
