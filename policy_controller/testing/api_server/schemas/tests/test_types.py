"""The written types are those of the API, and every table that speaks of them speaks of fields there are."""

import pytest

from policy_controller.testing.api_server.resources import RESOURCES, SUBRESOURCES
from policy_controller.testing.api_server.schemas import merges, protobuf
from policy_controller.testing.api_server.schemas.checks import Findings, fitted, missing
from policy_controller.testing.api_server.schemas.duplicates import duplicate_fields
from policy_controller.testing.api_server.schemas.shapes import ListOf, Named, kind_named, type_names
from policy_controller.testing.api_server.schemas.tests.written_types import PATH, written

POD = kind_named("v1", "Pod")
SCALARS = {"string", "integer", "boolean", "bytes", "quantity", "int-or-string", "time", protobuf.UNREAD}


def test_types_are_written_as_the_library_has_them() -> None:
    assert PATH.read_text() == written()


def test_every_served_kind_has_a_type() -> None:
    kinds = [(row.api_version, row.kind) for row in RESOURCES]
    kinds += [(part.api_version, part.kind) for part in SUBRESOURCES.values() if part.kind]
    assert {kind_named(*kind).name for kind in kinds} <= set(type_names())


@pytest.mark.parametrize("path", sorted({*merges.LISTS, *merges.ATOMIC_FIELDS, *merges.RETAINING_OBJECTS}))
def test_merge_rules_speak_of_fields_there_are(path: str) -> None:
    owner, _, field = path.rpartition(".")
    shape = Named(owner).fields[field].shape
    merge = merges.LISTS.get(path)
    if merge is None:
        return
    assert isinstance(shape, ListOf)
    if merge.keys:
        assert isinstance(shape.item, Named)
        assert {merge.patch_key or merge.keys[0], *merge.keys} <= set(shape.item.fields)


def test_atomic_types_are_types_there_are() -> None:
    assert set(type_names()) >= merges.ATOMIC_TYPES


def test_numbers_speak_of_fields_and_messages_there_are() -> None:
    numbers = protobuf.numbers()
    types = set(type_names())
    for owner, fields in numbers.items():
        for word in fields.values():
            field, _, shape = word.partition(":")
            inner = shape.strip("[]{}")
            assert inner in SCALARS or inner in numbers, (owner, word)
            if owner in types and field:
                assert field in Named(owner).fields, (owner, word)


FITTED = [
    # document, as it is fitted, unknown fields, number of wrong types
    ({"spec": {"nodeName": "a"}}, {"spec": {"nodeName": "a"}}, [], 0),
    ({"spec": {"nodeName": None}}, {"spec": {}}, [], 0),
    ({"spec": {"nodename": "a"}, "x": 1}, {"spec": {}}, ["spec.nodename", "x"], 0),
    ({"spec": {"nodeName": 1}}, {"spec": {"nodeName": 1}}, [], 1),
    ({"spec": {"hostNetwork": "yes"}}, {"spec": {"hostNetwork": "yes"}}, [], 1),
    ({"spec": {"priority": True}}, {"spec": {"priority": True}}, [], 1),
    ({"spec": []}, {"spec": []}, [], 1),
    ({"spec": {"containers": {}}}, {"spec": {"containers": {}}}, [], 1),
    ({"spec": {"containers": [None]}}, {"spec": {"containers": [{}]}}, [], 0),
    ({"spec": {"nodeSelector": {"a": None}}}, {"spec": {"nodeSelector": {"a": ""}}}, [], 0),
    ({"spec": {"overhead": {"cpu": 1}}}, {"spec": {"overhead": {"cpu": 1}}}, [], 0),
    (
        {"spec": {"containers": [{"imag": "x"}]}},
        {"spec": {"containers": [{}]}},
        ["spec.containers[0].imag"],
        0,
    ),
]


@pytest.mark.parametrize(("document", "result", "unknown", "mistyped"), FITTED)
def test_document_is_fitted_as_a_decoder_of_its_type_does(
    document: dict[str, object], result: object, unknown: list[str], mistyped: int
) -> None:
    findings = Findings()
    assert fitted(document, POD, findings) == result
    assert (findings.unknown, len(findings.mistyped)) == (unknown, mistyped)


def test_missing_fields_are_named_by_their_paths() -> None:
    document = {"spec": {"containers": [{"name": "a", "ports": [{}]}, {"env": [{"value": "x"}]}]}}
    assert [fault.path for fault in missing(document, POD, "spec")] == [
        "spec.containers[0].ports[0].containerPort",
        "spec.containers[1].env[0].name",
        "spec.containers[1].name",
    ]


DUPLICATES = [
    (b'{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}', ["b.c", "a"]),
    (b'{"l": [{"x": 1}, {"x": 1, "x": 1}]}', ["l[1].x"]),
    (b'{"a": 1}', []),
    (b"{", []),
]


@pytest.mark.parametrize(("text", "paths"), DUPLICATES)
def test_fields_that_are_given_twice_are_named(text: bytes, paths: list[str]) -> None:
    assert duplicate_fields(text) == paths
