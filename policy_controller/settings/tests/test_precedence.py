"""Where a value comes from, in every combination of places."""

import itertools
from collections.abc import Mapping

import pytest

from policy_controller.settings.faults import InvalidSettings
from policy_controller.settings.file import Entry
from policy_controller.settings.load import Effective, Sources, load
from policy_controller.settings.tests.toy import TABLE, Colour, Settings
from policy_controller.wire.channel import HostPort

NEEDED: Mapping[str, str] = {"TOY_NODE_NAME": "node-1", "TOY_OPERATOR": "10.0.0.1:80"}


def loaded(
    flags: Mapping[str, str], environment: Mapping[str, str], file: Mapping[str, object]
) -> Effective[Settings]:
    entries = {
        key: Entry(value, f"f.yaml:{line}: {key}") for line, (key, value) in enumerate(file.items(), 1)
    }
    return load(TABLE, Sources(flags, environment, entries))


PLACES = ("--some-seconds", "TOY_SOME_SECONDS", "f.yaml:1: someSeconds", "default")


@pytest.mark.parametrize("said", list(itertools.product([True, False], repeat=3)))
def test_flag_goes_before_variable_before_file_before_default(said: tuple[bool, bool, bool]) -> None:
    flag, variable, file = said
    effective = loaded(
        {"some_seconds": "2"} if flag else {},
        {**NEEDED, **({"TOY_SOME_SECONDS": "3"} if variable else {})},
        {"someSeconds": 4} if file else {},
    )
    first = (*said, True).index(True)
    assert effective.settings.some_seconds == (2, 3, 4, 5)[first]
    assert effective.origins["some_seconds"] == PLACES[first]


def test_a_variable_of_ours_goes_before_one_that_others_set() -> None:
    others = {"NODE_NAME": "theirs", "TOY_OPERATOR": "a:1"}
    assert loaded({}, others, {"nodeName": "file"}).settings.node_name == "theirs"
    assert loaded({}, {**others, "TOY_NODE_NAME": "ours"}, {}).settings.node_name == "ours"


def test_an_empty_variable_is_not_set() -> None:
    effective = loaded({}, {**NEEDED, "TOY_SOME_SECONDS": "", "TOY_TEXT": ""}, {"someSeconds": 4})
    assert (effective.settings.some_seconds, effective.settings.text) == (4, None)


def test_an_empty_flag_is_a_value() -> None:
    with pytest.raises(InvalidSettings, match="--text: is empty"):
        loaded({"text": ""}, NEEDED, {})


def test_a_default_from_the_environment_gives_way_to_a_file() -> None:
    environment = {"NODE_NAME": "n", "SERVICE": "10.0.0.1:443"}
    effective = loaded({}, environment, {})
    assert effective.settings.operator == HostPort("10.0.0.1", 443)
    assert effective.origins["operator"] == "default from SERVICE"
    assert loaded({}, environment, {"operator": "x:1"}).settings.operator == HostPort("x", 1)


def test_null_in_a_file_is_absence_where_something_may_be_absent() -> None:
    assert loaded({}, NEEDED, {"text": None}).origins["text"] == "f.yaml:1: text"
    with pytest.raises(InvalidSettings, match=r"f\.yaml:1: colour: is null and not a text"):
        loaded({}, NEEDED, {"colour": None})


def test_what_nobody_said_names_every_way_to_say_it() -> None:
    with pytest.raises(InvalidSettings) as caught:
        loaded({}, {}, {})
    assert str(caught.value).splitlines() == [
        "nodeName: is missing: say it by one of --node-name, TOY_NODE_NAME, NODE_NAME, nodeName in a file",
        "operator: is missing: say it by one of --operator, TOY_OPERATOR, operator in a file, or from SERVICE",
    ]


def test_all_faults_are_told_at_once_each_with_its_place() -> None:
    flags = {"some_seconds": "soon"}
    with pytest.raises(InvalidSettings) as caught:
        loaded(flags, {**NEEDED, "TOY_COLOUR": "green"}, {"file": 7, "colr": "red", "a\n\u202eb": 1})
    assert sorted(str(caught.value).splitlines()) == [
        '--some-seconds: "soon" is not a number',
        'TOY_COLOUR: "green" is not one of red, blue',
        "f.yaml:1: file: is a number and not a text; quotes make it one",
        "f.yaml:2: colr: is no setting (nearest: colour)",
        "f.yaml:3: a\\n\\u202eb: is no setting",
    ]


def test_a_fault_between_two_settings_names_the_one_to_mend() -> None:
    with pytest.raises(InvalidSettings, match=r"^file: is missing$"):
        loaded({"text": "both"}, NEEDED, {})


VALUES: list[tuple[str, str, object, object]] = [
    ("node_name", "a.b-1", "a.b-1", "a.b-1"),
    ("operator", "[fd00::1]:80", "[fd00::1]:80", HostPort("fd00::1", 80)),
    ("names", "a,b*", ["a", "b*"], ("a", "b*")),
    ("some_seconds", "1.5", 1.5, 1.5),
    ("some_seconds", "7", 7, 7.0),
    ("colour", "blue", "blue", Colour.BLUE),
]


@pytest.mark.parametrize(("name", "text", "tree", "value"), VALUES)
def test_a_value_is_the_same_wherever_it_is_said(name: str, text: str, tree: object, value: object) -> None:
    (row,) = (row for row in TABLE.rows() if row.name == name)
    (variable, *_) = TABLE.variables(row)
    needed = {key: said for key, said in NEEDED.items() if key != variable}
    for effective in (
        loaded({name: text}, needed, {}),
        loaded({}, {**needed, variable: text}, {}),
        loaded({}, needed, {row.key: tree}),
    ):
        assert getattr(effective.settings, name) == value
    assert row.show(value) == tree


WRONG: list[tuple[str, str, object]] = [
    ("nodeName", "No de", ["a"]),
    ("nodeName", "a\nb", {"a": 1}),
    ("listen", "nowhere", 80),
    ("listen", ":80", True),
    ("names", "", "a,b"),
    ("names", "a,,b", ["a", 1]),
    ("names", ",", ["a,b"]),
    ("names", "a,", [""]),
    ("someSeconds", "nan", "5"),
    ("someSeconds", "inf", float("nan")),
    ("someSeconds", "0.9", True),
    ("pause", "inf", float("inf")),
    ("pause", "-1", False),
    ("someSeconds", "101", 10**400),
    ("someSeconds", "5s", [5]),
    ("colour", "RED", "reds"),
    ("file", "", ""),
    ("text", "", 5),
]


@pytest.mark.parametrize(("key", "text", "tree"), WRONG)
def test_a_wrong_value_is_refused_wherever_it_is_said(key: str, text: str, tree: object) -> None:
    (row,) = (row for row in TABLE.rows() if row.key == key)
    with pytest.raises(InvalidSettings, match=f"^{row.flag}: "):
        loaded({row.name: text}, NEEDED, {})
    environment = {name: said for name, said in NEEDED.items() if name != f"TOY_{row.name.upper()}"}
    with pytest.raises(InvalidSettings, match=rf"^f\.yaml:1: {key}: "):
        loaded({}, environment, {key: tree})


def test_what_is_no_text_is_refused_since_it_could_not_be_printed_and_fed_back() -> None:
    with pytest.raises(InvalidSettings) as caught:
        loaded({"text": "a\udcff"}, {**NEEDED, "TOY_SOME_SECONDS": "\udc80"}, {})
    assert sorted(str(fault) for fault in caught.value.faults) == [
        "--text: is not UTF-8",
        "TOY_SOME_SECONDS: is not UTF-8",
    ]
