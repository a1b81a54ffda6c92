"""The documents speak of what is there: tests, files, make targets and lines of the table."""

import re
from collections.abc import Iterator
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import pytest

import nft_templates
from compilers.compile import Compiler
from compilers.model.words import Direction
from compilers.nftables.base import BaseSettings, base_tables
from compilers.nftables.departed import departing, with_departed
from compilers.nftables.render import render, with_slots
from compilers.nftables.writer import write
from compilers.ruleset.rule_set import RuleSet
from policy_controller.controller.settings import TABLE as OPERATOR
from policy_controller.enforcer.settings import TABLE as ENFORCER
from policy_controller.testing.examples import load_example

ROOT: Final = Path(__file__).parents[3]
DOCUMENTS: Final = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("[a-z]*/README.md")),
    ROOT / "e2e" / "upstream.md",
)
FENCE: Final = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"\]\((?P<target>[^)\s]+)\)")
ELSEWHERE: Final = re.compile(r"[a-z]+:")
HEADING: Final = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
NAMED_TEST: Final = re.compile(r"`(?P<room>\w+)/(?P<file>test_\w+\.py)::(?P<test>\w+)`")
FAULT: Final = re.compile(r"^\| (?P<number>\d+) \|", re.MULTILINE)
OF_FAULT: Final = re.compile(r"`(?:[\w/]+/)?(?P<room>\w+)/(?:tests/)?(?P<file>test_\w+\.py)::(?P<test>\w+)`")
"""With the folders above, or without."""
TEST: Final = re.compile(r"^(?:async )?def (?P<name>test_\w+)", re.MULTILINE)
COMMAND: Final = re.compile(r"(?:^|`)(?:\$ )?make (?P<target>[a-z-]+)\b", re.MULTILINE)
TARGET: Final = re.compile(r"^(?P<target>[a-z-]+):", re.MULTILINE)
NAMED_FILE: Final = re.compile(r"`(?P<path>[\w./-]+\.(?:py|nft|proto|toml))(?:::\w+)?`")
NAMED_FLAG: Final = re.compile(r"`(?P<flag>--[a-z-]+)")
TOPS: Final = ("bench", "compilers", "e2e", "manifests", "policy_controller", "nft_templates")
PROGRAMS: Final = ("e2e", "policy_controller")
SHOWN_EXAMPLE: Final = "three-tier"
SHOWN_NODE: Final = "node-a"

documents = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS]
)


def prose(document: Path) -> str:
    """The text without its blocks of code."""
    return FENCE.sub("", document.read_text())


def anchors(document: Path) -> set[str]:
    """The anchors that headings have on a page: lower case, hyphens for spaces, no punctuation."""
    titles = (found["title"].lower() for found in HEADING.finditer(prose(document)))
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


def broken_links(document: Path) -> Iterator[str]:
    for found in LINK.finditer(prose(document)):
        path, _, anchor = found["target"].partition("#")
        if ELSEWHERE.match(path):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield found["target"]


def names_of_tests(path: Path) -> set[str]:
    return {found["name"] for found in TEST.finditer(path.read_text())}


@cache
def named_by_room() -> dict[tuple[str, str], set[str]]:
    """Names of tests by the folder above `tests` and the file."""
    rooms: dict[tuple[str, str], set[str]] = {}
    for top in TOPS:
        for path in (ROOT / top).rglob("tests/test_*.py"):
            rooms.setdefault((path.parents[1].name, path.name), set()).update(names_of_tests(path))
    return rooms


@documents
def test_every_test_that_is_named_exists(document: Path) -> None:
    rooms = named_by_room()
    named = list(NAMED_TEST.finditer(document.read_text()))

    assert not [
        found[0] for found in named if found["test"] not in rooms.get((found["room"], found["file"]), ())
    ]


def test_every_row_of_the_semantics_names_a_test_or_says_that_there_is_none() -> None:
    rows = [
        line for line in (ROOT / "docs" / "semantics.md").read_text().splitlines() if line.startswith("| ")
    ]
    cases = [row for row in rows if not row.startswith("| case |")]

    assert not [row for row in cases if not NAMED_TEST.search(row) and not row.endswith("| none |")]
    assert cases
    # An unescaped bar would move a row's tests into a column that is not shown.
    assert {row.replace("\\|", "").count("|") for row in cases} == {5}


def test_every_fault_that_reliability_lists_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    rows = [line for line in page.splitlines() if FAULT.match(line)]
    numbers = [int(found["number"]) for found in FAULT.finditer(page)]
    rooms = named_by_room()

    assert rows
    assert numbers == sorted(set(numbers))
    assert {row.replace("\\|", "").count("|") for row in rows} == {5}
    for row in rows:
        named = list(OF_FAULT.finditer(row.rsplit("|", 2)[1]))
        assert named, row
        for found in named:
            assert found["test"] in rooms.get((found["room"], found["file"]), ()), found[0]
        # Whatever else is named beside them would not be looked at.
        assert len(named) == row.rsplit("|", 2)[1].count("::"), row


@documents
def test_every_link_to_a_file_or_heading_leads_there(document: Path) -> None:
    assert not list(broken_links(document))


@documents
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    targets = {found["target"] for found in TARGET.finditer((ROOT / "Makefile").read_text())}
    named = {found["target"] for found in COMMAND.finditer(document.read_text())}

    assert named <= targets


@documents
def test_every_file_that_is_named_exists(document: Path) -> None:
    """By the end of its path; a test also without the folder `tests`."""
    held = [path.relative_to(ROOT).as_posix() for top in TOPS for path in (ROOT / top).rglob("*.*")]
    held += [path.name for path in ROOT.iterdir()]
    held += [path.replace("/tests/", "/") for path in held]
    ends = tuple(f"/{found['path']}" for found in NAMED_FILE.finditer(prose(document)))

    assert not [end for end in ends if not any(f"/{path}".endswith(end) for path in held)]


@documents
def test_every_flag_that_is_named_is_one_of_a_program(document: Path) -> None:
    code = "".join(path.read_text() for top in PROGRAMS for path in (ROOT / top).rglob("*.py"))
    flags = set(re.findall(r"[\"/](--[a-z-]+)[\"/]", code))
    flags |= {row.flag for table in (OPERATOR, ENFORCER) for row in table.rows()}

    assert {found["flag"] for found in NAMED_FLAG.finditer(prose(document))} <= flags


def test_every_decision_is_listed() -> None:
    pages = {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")} - {"README.md"}
    listed = {
        found["target"] for found in LINK.finditer((ROOT / "docs" / "decisions" / "README.md").read_text())
    }

    assert listed == pages


def test_every_line_of_the_table_that_is_shown_is_what_a_node_holds() -> None:
    base = base_tables(
        nft_templates.read(nft_templates.INET),
        nft_templates.read(nft_templates.BRIDGE),
        BaseSettings(api_server=(ip_address("10.96.0.1"), 443)),
    )
    rule_set = Compiler(load_example(ROOT / "examples" / SHOWN_EXAMPLE).cluster).node(SHOWN_NODE)
    closed = render(rule_set, base, frozenset(Direction))
    nobody = render(RuleSet.of(SHOWN_NODE), base)
    departed = with_departed(nobody, closed, departing(closed, nobody), base)
    tables = (*closed.each(), with_slots(closed, base.closed_untold).inet, departed.inet)
    text = (ROOT / "docs" / "nftables.md").read_text()
    shown = [found["text"] for found in FENCE.finditer(text) if found["language"] == "nft"]

    assert shown
    held = "".join(map(write, tables))
    for block in shown:
        for paragraph in block.split("\n\n"):
            assert paragraph.strip("\n") in held
