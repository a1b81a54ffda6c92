"""Every hostile text: read, or told with its place, in time, in words that are fit to print."""

import time

import pytest

from compilers.model.faults import Fault
from compilers.parse.cluster import parse_cluster
from compilers.parse.source import read_documents
from policy_controller.testing.hostile.files import GOOD, TEXTS

SECONDS = 20.0
"""Processor time; the slowest takes two here."""
RIGHT = {"a list of null", "no object"}
"""Texts that say nothing wrong, or nothing at all."""
by_name = pytest.mark.parametrize("name", TEXTS)


@by_name
def test_a_text_is_read_or_told_and_hides_no_other(name: str) -> None:
    began = time.process_time()
    read = read_documents((TEXTS[name] + GOOD).decode("utf-8", "surrogateescape"), "hostile.yaml")
    parsed = parse_cluster(read.documents)
    told: list[Fault] = [*read.faults, *parsed.faults]
    if name not in RIGHT:
        assert told or parsed.skipped
    for fault in told:
        assert str(fault).isprintable()
        assert len(str(fault)) < 2_000
    assert [one.name for one in parsed.cluster.policies if one.namespace == "good"] == ["good"]
    assert all(side.faults for one in parsed.cluster.policies if one.faults for side in one.sides.values())
    assert time.process_time() - began < SECONDS
