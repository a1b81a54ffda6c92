"""What the whole suite asks at its start (how much to try), shares, and tells at its end (how much was compared)."""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it ships without types

from policy_controller.testing import client_tools
from policy_controller.testing.extent import Extent

WHOLE = "whole"
SHARED = re.compile(r"bridge|vxlan|routed|share \d+")
"""What in a test's id sets a part of its file apart: the pod network that its fixtures stand on, or a share of the work."""


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships without types
    """Hands a file to one worker, so that module fixtures are made once; its parts by SHARED to any."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return " ".join((file, *SHARED.findall(test)))


class FailureNames:
    """Names each failed test when it fails: whoever waits an hour for the end of a run knows earlier what it will say."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called for each phase of each test, on the side that prints."""
        if report.failed:
            self._terminal.write_line(f"\nfailed in {report.when}: {report.nodeid}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Workers of a distributed run print nothing, and have no terminal."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(terminal, pytest.TerminalReporter):
        config.pluginmanager.register(FailureNames(terminal))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    """Called where xdist is there and tests are distributed."""
    return Scheduling(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--extent whole` is `make test-all`."""
    words = [extent.value for extent in Extent]
    parser.addoption("--extent", choices=words, default=Extent.SHORT.value, help="how much to try")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only the whole extent runs."""
    if _extent(config) is Extent.WHOLE:
        return
    left_out = [item for item in items if item.get_closest_marker(WHOLE)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker(WHOLE)]


@pytest.fixture(scope="session")
def extent(pytestconfig: pytest.Config) -> Extent:
    return _extent(pytestconfig)


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """The real kubectl; skips where none is made for this machine, and fails where it cannot be had."""
    return _fit(client_tools.kubectl)


@pytest.fixture(scope="session")
def helm() -> Path:
    """The real helm; as `kubectl`."""
    return _fit(client_tools.helm)


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


def _extent(config: pytest.Config) -> Extent:
    return Extent(config.getoption("--extent"))


def _fit(tool: Callable[[], Path]) -> Path:
    try:
        return tool()
    except client_tools.UnfitMachineError as reason:
        pytest.skip(str(reason))
