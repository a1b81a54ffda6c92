"""What is printed is harmless for a terminal, and stays readable."""

from unittest.mock import patch

import pytest
from click.testing import CliRunner

from policy_controller.cli.demo import command
from policy_controller.cli.output import printable, printable_lines
from policy_controller.testing.installation.api import RefusedError


def test_control_characters_are_shown_and_lines_stay_lines() -> None:
    assert printable("a\n\x1b[31mb") == r"a\n\x1b[31mb"
    assert printable_lines("a\n\x1b[31mb\n") == "a\n\\x1b[31mb\n"


def test_what_an_api_server_says_does_not_reach_the_terminal_raw(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise RefusedError("no\nname \x1b]0;owned\x07")

    monkeypatch.setattr(command, "scene", refused)
    with patch("os.geteuid", return_value=0):
        done = CliRunner().invoke(command.demo_command)

    assert done.exit_code == 1
    assert done.output == "Error: no\nname \\x1b]0;owned\\x07\n"
