"""One place of the program that writes without end is left out in part, told so, and keeps no other from writing."""

import logging
import subprocess
import sys

import pytest

from policy_controller.logs.pace import BURST_SECONDS, Pace
from policy_controller.logs.restraint import MOST_KINDS, Restraints

EACH_SECOND = 5.0
BURST = int(BURST_SECONDS * EACH_SECOND)


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(
    line: int, *arguments: object, level: int = logging.WARNING, message: str = "said %s"
) -> logging.LogRecord:
    return logging.LogRecord("a", level, "a.py", line, message, arguments, None)


def test_what_is_left_out_is_counted_and_told_with_the_next_line_of_its_place() -> None:
    time = Time()
    pace = Pace(time, EACH_SECOND)
    told = [pace.filter(record(1, number)) for number in range(BURST + 40)]
    assert told == [True] * BURST + [False] * 40
    assert pace.filter(record(2, "other"))
    time.now = 1 / EACH_SECOND
    later = record(1, "again")
    assert pace.filter(later)
    assert later.getMessage() == "said again (40 lines of this place were left out)"
    assert pace.ever == 40
    assert not pace.filter(record(1, "and again"))


def test_a_last_word_is_told_in_a_flood() -> None:
    pace = Pace(Time(), EACH_SECOND)
    for number in range(BURST + 5):
        pace.filter(record(1, number))
    assert pace.filter(record(1, "x", level=logging.CRITICAL))


def test_arguments_that_do_not_fit_lose_no_line() -> None:
    pace = Pace(Time(), EACH_SECOND)
    for number in range(BURST + 1):
        pace.filter(record(1, number))
    last = record(1, "a", "b", level=logging.CRITICAL)
    assert pace.filter(last)
    assert "its arguments cannot be shown" in last.getMessage()


def test_kinds_without_number_are_not_remembered_and_still_counted() -> None:
    restraints = Restraints(Time(), 1, 1)
    for _ in range(2):
        restraints["first"].allows()
    for number in range(MOST_KINDS + 10):
        restraints[number].allows()
    assert restraints.ever == 1
    assert len(restraints._kinds) == MOST_KINDS
    assert restraints["first"].allows()


@pytest.mark.parametrize("count", [500])
def test_the_log_of_a_process_is_paced(count: int) -> None:
    program = (
        "import logging\n"
        "from policy_controller.logs import LogFormat, LogLevel, lines_left_out, logging_to_stderr\n"
        "with logging_to_stderr(LogFormat.TEXT, LogLevel.INFO, 1):\n"
        f"    for number in range({count}):\n"
        "        logging.getLogger('a').info('line %d', number)\n"
        "    logging.getLogger('a').info('left out %d', lines_left_out())\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - as written above
    lines = done.stderr.splitlines()
    left_out = int(lines[-1].rpartition(" ")[2])
    assert left_out == count - (len(lines) - 1)
    assert BURST_SECONDS <= len(lines) - 1 <= 2 * BURST_SECONDS
