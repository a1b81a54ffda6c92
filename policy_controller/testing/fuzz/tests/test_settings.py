"""Files of settings, flags and variables: refused with every fault in words fit to print, or printed and read as the same settings."""

from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_controller.controller.settings import TABLE as OPERATOR
from policy_controller.enforcer.settings import TABLE as ENFORCER
from policy_controller.settings.faults import InvalidSettings
from policy_controller.settings.file import read_file
from policy_controller.settings.load import Effective, Sources, load
from policy_controller.settings.printed import printed
from policy_controller.settings.table import Table
from policy_controller.testing.extent import Extent
from policy_controller.testing.fuzz.mutations import changed_bytes
from policy_controller.testing.fuzz.tests.test_policies import WORDS as YAML_WORDS
from policy_controller.testing.fuzz.tests.told import ACCEPTED, COUNTED, Record, check_told
from policy_controller.testing.fuzz.tries import tries

pytestmark = pytest.mark.timeout(900)

ENVIRONMENTS: Final = {
    "OPERATOR": {},
    "ENFORCER": {"NODE_NAME": "node-a", "ENFORCER_OPERATOR": "10.0.0.1:9473"},
}
TABLES: Final[tuple[Table[Any], ...]] = (OPERATOR, ENFORCER)
TEXTS: Final = (
    "",
    "0",
    "-1",
    "1e400",
    "nan",
    "0x10",
    "[::1]:80",
    "::1:80",
    "a:65536",
    "auto",
    "drop",
    "a,b",
    "\0",
    "\ud800",
    "\x1b[31m",
    "é",
    "inf",
    "1_0",
    "٣",
)


def effective(table: Table[Any], sources: Sources) -> Effective[Any] | None:
    """None: refused."""
    try:
        return load(table, sources)
    except InvalidSettings as invalid:
        check_told(invalid)
        return None


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.program)
def test_a_changed_file_is_refused_or_printed_and_read_as_the_same_settings(
    table: Table[Any], tmp_path: Path, extent: Extent, record_property: Record
) -> None:
    tried, accepted = [], []
    environment = ENVIRONMENTS[table.prefix]
    usual = effective(table, Sources({}, environment, {}))
    assert usual is not None
    lines = printed(table, usual)
    words = [*YAML_WORDS, *(f"{row.key}: {text!a}\n" for row in table.rows() for text in TEXTS[:4])]
    file, again = tmp_path / "settings.yaml", tmp_path / "again.yaml"

    @tries(extent, 200, 5_000)
    @given(
        changed_bytes([lines.encode(), b"{}", b"logLevel: debug\n"], [word.encode() for word in words])
        | st.binary(max_size=60)
    )
    def check(content: bytes) -> None:
        tried.append(content)
        file.write_bytes(content)
        try:
            entries = read_file(file)
        except InvalidSettings as invalid:
            check_told(invalid)
            return
        found = effective(table, Sources({}, environment, entries))
        if found is not None:
            accepted.append(content)
            again.write_text(printed(table, found), encoding="ascii")
            same = effective(table, Sources({}, {}, read_file(again)))
            assert same is not None
            assert same.settings == found.settings

    check()
    record_property(COUNTED, len(tried))
    record_property(ACCEPTED, len(accepted))
    assert accepted


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.program)
def test_any_flag_and_variable_is_refused_or_a_setting(
    table: Table[Any], tmp_path: Path, extent: Extent, record_property: Record
) -> None:
    tried = []
    rows = table.rows()
    texts = st.sampled_from(TEXTS) | st.text(max_size=20)
    flags = st.dictionaries(st.sampled_from([row.name for row in rows]), texts, max_size=3)
    variables = st.dictionaries(
        st.sampled_from([name for row in rows for name in table.variables(row)]), texts, max_size=3
    )
    again = tmp_path / "again.yaml"

    @tries(extent, 200, 8_000)
    @given(flags, variables)
    def check(said: dict[str, str], environment: dict[str, str]) -> None:
        tried.append(said)
        found = effective(table, Sources(said, ENVIRONMENTS[table.prefix] | environment, {}))
        if found is not None:
            again.write_text(printed(table, found), encoding="ascii")
            same = effective(table, Sources({}, {}, read_file(again)))
            assert same is not None
            assert same.settings == found.settings

    check()
    record_property(COUNTED, len(tried))
