"""The file of settings, and what is printed of them."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from policy_controller.settings.faults import InvalidSettings
from policy_controller.settings.file import LARGEST, read_file
from policy_controller.settings.flags import takes_settings
from policy_controller.settings.tests.toy import TABLE, Settings

NEEDED = {"TOY_NODE_NAME": "node-1", "TOY_OPERATOR": "10.0.0.1:80"}
HOSTILE = 'quote " back \\ # hash: \x1b[31m \u202e\U0001f600 \x85\u2028end'


@click.command()
@takes_settings(TABLE)
@click.option("--other", is_flag=True)
def program(settings: Settings, other: bool) -> None:
    click.echo(f"{other} {settings!r}")


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(program, arguments, env={**NEEDED, **environment})


def test_each_key_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("# first\nlisten: '[::]:1'\n\nnames:\n  - a\n  - b\nsomeSeconds: 2\n")
    entries = read_file(path)
    assert {key: entry.where for key, entry in entries.items()} == {
        "listen": f"{path}:2: listen",
        "names": f"{path}:4: names",
        "someSeconds": f"{path}:7: someSeconds",
    }
    assert entries["names"].value == ["a", "b"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "{}\n", "\ufeff# a mark\n"])
def test_a_file_may_say_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert read_file(tmp_path / "c.yaml") == {}


BROKEN: list[tuple[bytes, str]] = [
    (b"listen: a\nlisten: b\n", ':2: the key "listen" stands here a second time'),
    (b"a: 1\n--- \nb: 2\n", ":3: begins a second document"),
    (b"- a\n", ":1: is not a mapping of settings"),
    (b"\n\ntext\n", ":3: is not a mapping of settings"),
    (b"a: [\n", ":2: "),
    (b"a: b: c\n", ":1: "),
    (b"a: !!python/object/apply:os.system [x]\n", ":1: the tag"),
    (b"a: *nothing\n", ":1: the alias"),
    (b"a: \xff\n", ": is not UTF-8"),
    (b"? [a]\n: 1\n", ":1: a key is a mapping or a sequence"),
    (b"a: '" + b"x" * LARGEST, ": has more than"),
    (b"a: 1\n\x1b: 1\n", ":2: holds the character '\\x1b'"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN, ids=[str(content[:24]) for content, _ in BROKEN])
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidSettings) as caught:
        read_file(path)
    assert str(caught.value).startswith(f"{path}{words}")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("key", "shown"), [("on", "true"), ("80", "80"), ("~", "null"), ("1.5", '"1.5"')])
def test_a_key_that_yaml_takes_for_something_else_is_no_setting(tmp_path: Path, key: str, shown: str) -> None:
    (tmp_path / "c.yaml").write_text(f"\n{key}: 1\n")
    result = run("--config", str(tmp_path / "c.yaml"))
    assert result.exit_code == 2
    assert f"c.yaml:2: {shown}: is no setting" in result.output


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    for arguments, environment in ((("--config", "/nowhere"), {}), ((), {"TOY_CONFIG": "/nowhere"})):
        result = run(*arguments, **environment)
        assert result.exit_code == 2
        assert "/nowhere: No such file or directory" in result.output
    assert "Is a directory" in run("--config", str(tmp_path)).output


def test_the_flag_names_the_file_before_the_variable(tmp_path: Path) -> None:
    for number in (2, 3):
        (tmp_path / f"{number}.yaml").write_text(f"someSeconds: {number}\n")
    result = run("--config", str(tmp_path / "2.yaml"), TOY_CONFIG=str(tmp_path / "3.yaml"))
    assert "some_seconds=2.0" in result.output


def test_a_command_keeps_its_own_options() -> None:
    assert run("--other").output.startswith("True Settings(")
    assert run().output.startswith("False Settings(")


def test_what_is_printed_says_where_each_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("\nsomeSeconds: 2.5\n")
    assert run("--config", str(path), "--names", "a,b", "--print-config").output == (
        "# The settings of toy, and where each comes from.\n"
        'nodeName: "node-1"  # TOY_NODE_NAME\n'
        'operator: "10.0.0.1:80"  # TOY_OPERATOR\n'
        'listen: "[::]:80"  # default\n'
        "file: null  # default\n"
        "text: null  # default\n"
        'names: ["a", "b"]  # --names\n'
        f"someSeconds: 2.5  # {path}:2: someSeconds\n"
        "pause: 0  # default\n"
        'colour: "red"  # default\n'
    )


def test_what_is_printed_can_be_fed_back(tmp_path: Path) -> None:
    flags = (
        "--text",
        HOSTILE,
        "--names",
        "a,it's",
        "--some-seconds",
        "2.25",
        "--colour",
        "blue",
        "--file",
        "~",
    )
    printed = run(*flags, "--print-config").output
    assert all(line.isascii() and line.isprintable() for line in printed.splitlines())
    (tmp_path / "c.yaml").write_text(printed)

    again = CliRunner().invoke(program, ["--config", str(tmp_path / "c.yaml")])

    assert again.exit_code == 0
    assert again.output == run(*flags).output
