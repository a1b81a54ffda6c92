"""What the whole suite tells at its end: how much was compared, beyond how many tests passed."""

from collections import defaultdict

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the sum of every number that tests recorded under one name."""
    counted: dict[str, float] = defaultdict(float)
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if isinstance(value, int | float):
                counted[name] += value
    if counted:
        terminalreporter.section("counted")
        for name in sorted(counted):
            terminalreporter.write_line(f"{counted[name]:>12,.0f}  {name}")
