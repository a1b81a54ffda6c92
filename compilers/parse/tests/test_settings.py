"""The settings of the whole cluster: every word, and that nothing else is taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.faults import path_text
from compilers.model.settings import CONFIG_MAP, ClusterSettings, Enforcement, ExistingConnections
from compilers.parse.field import Origin
from compilers.parse.settings import KEYS, parse_settings
from compilers.parse.tests.trees import JSON, Tree


def config_map(data: object, **more: object) -> Tree:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "policy-controller", "name": CONFIG_MAP, "resourceVersion": "7"},
        "data": data,
    } | more


OFF = ClusterSettings(Enforcement.OFF)
CUT = ClusterSettings(existing_connections=ExistingConnections.CUT)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (None, ClusterSettings()),
        ({}, ClusterSettings()),
        ({"enforcement": None}, ClusterSettings()),
        ({"enforcement": "enforced"}, ClusterSettings()),
        ({"enforcement": "off"}, OFF),
        ({"existingConnections": "keep"}, ClusterSettings()),
        ({"existingConnections": "cut"}, CUT),
        (
            {"existingConnections": "cut", "enforcement": "off"},
            ClusterSettings(Enforcement.OFF, ExistingConnections.CUT),
        ),
    ],
)
def test_a_key_that_is_not_there_has_its_default(data: object, expected: ClusterSettings) -> None:
    parsed = parse_settings(config_map(data), Origin.API)

    assert (parsed.value, parsed.faults) == (expected, ())


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        ({"enforcement": "of"}, "data.enforcement", "did you mean off?"),
        ({"enforcement": "OFF"}, "data.enforcement", "must be enforced or off"),
        ({"enforcement": "off\n"}, "data.enforcement", '"off\\n"'),
        ({"enforcement": ""}, "data.enforcement", '""'),
        ({"enforcement": "staged"}, "data.enforcement", "audit log"),
        ({"enforcement": "x" * 100_000}, "data.enforcement", "must be enforced or off"),
        ({"enforcement": "\x1b[31m"}, "data.enforcement", "\\x1b"),
        ({"enforcement": False}, "data.enforcement", "quote it"),
        ({"enforcement": ["off"]}, "data.enforcement", "a list"),
        ({"existingConnections": "kept"}, "data.existingConnections", "did you mean keep?"),
        ({"existingConnections": "staged"}, "data.existingConnections", "must be keep or cut"),
        ({"enforcment": "off"}, "data.enforcment", "did you mean enforcement?"),
        ({"enforcement": "off", "more": "1"}, "data.more", "known are enforcement, existingConnections"),
        ("off", "data", "mapping"),
    ],
)
def test_an_unknown_word_is_a_fault_and_nothing_is_chosen(data: object, field: str, words: str) -> None:
    parsed = parse_settings(config_map(data), Origin.API)

    assert parsed.value is None
    (fault,) = parsed.faults
    assert path_text(fault.path) == field
    assert words in fault.reason
    assert "\x1b" not in str(fault)
    assert len(str(fault)) < 300


def test_a_choice_that_is_not_text_is_a_fault() -> None:
    parsed = parse_settings(config_map(None, binaryData={"enforcement": "b2Zm"}), Origin.API)

    assert parsed.value is None
    assert [path_text(fault.path) for fault in parsed.faults] == ["binaryData"]


def test_an_object_of_another_kind_chooses_nothing() -> None:
    assert parse_settings(config_map({}, kind="Secret"), Origin.API).value is None


@given(JSON | st.builds(config_map, JSON | st.dictionaries(st.sampled_from(sorted(KEYS)), st.text())))
def test_whatever_is_parsed_is_read_or_faulted(tree: object) -> None:
    parsed = parse_settings(tree, Origin.API)

    assert (parsed.value is None) == bool(parsed.faults)
