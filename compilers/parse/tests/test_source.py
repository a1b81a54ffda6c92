"""Files: documents, positions, and faults that hide nothing else."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.faults import FieldPath
from compilers.model.policy import NetworkPolicy
from compilers.parse.source import Read, read_documents
from compilers.parse.tests.trees import JSON, POLICIES, policy_tree


def values(read: Read) -> list[object]:
    return [document.value for document in read.documents]


def said(read: Read) -> list[str]:
    return [str(fault) for fault in read.faults]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ('---\n{"a": "\\ud83d\\ude00"} {"b": 1}', [{"a": "😀"}, {"b": 1}]),
        ("\n# nothing\n---\n---\n...\n", []),
        ("a: 1", [{"a": 1}]),
        ("\ufeffa: 1\n--- # second\nb: 2\n...\n# third\n---\nc: 3\n", [{"a": 1}, {"b": 2}, {"c": 3}]),
        ("%YAML 1.1\n# x\n---\na: 1\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("a: 1\r\n---\r\nb: 2\r\n", [{"a": 1}, {"b": 2}]),
        ("--- {a: 1}\n--- [b]\n", [{"a": 1}, ["b"]]),
        ("a: |\n  ---\n  b\n---\nc: '--- d'", [{"a": "---\nb\n"}, {"c": "--- d"}]),
        ("---a: 1", [{"---a": 1}]),
        ('{"a": 1}\n{"b": [true, null, 1.5]}', [{"a": 1}, {"b": [True, None, 1.5]}]),
        ('{"a": 1}\n---\n{"b": 2}', [{"a": 1}, {"b": 2}]),
        ('{"a": "\\ud83d\\ude00\\/"}', [{"a": "😀/"}]),
        ("{a: 1, b: yes}", [{"a": 1, "b": True}]),
        ("a: 'yes'\nb: \"80\"\nc: !!str 80\nd: ! 80", [{"a": "yes", "b": "80", "c": "80", "d": "80"}]),
        ("a: !!int 80\nb: !!float 80", [{"a": 80, "b": 80.0}]),
        ("a: 2001-12-14\nb: 1:30", [{"a": "2001-12-14", "b": "1:30"}]),
        ("on: 1\n80: 2\n~: 3", [{True: 1, 80: 2, None: 3}]),
        ("a: &x {b: 1}\nc: *x\nd: [*x]", [{"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}]}]),
        (
            "a: &x {b: 1, c: 1}\nd: {<<: *x, b: 2}\ne: {b: 3, <<: [*x, {c: 4, f: 5}]}",
            [{"a": {"b": 1, "c": 1}, "d": {"b": 2, "c": 1}, "e": {"b": 3, "c": 1, "f": 5}}],
        ),
        ("'<<': {a: 1}", [{"<<": {"a": 1}}]),
    ],
)
def test_text_is_read_as_kubernetes_reads_it(text: str, expected: list[object]) -> None:
    read = read_documents(text, "f.yaml")

    assert values(read) == expected
    assert said(read) == []


@pytest.mark.parametrize(
    ("text", "at", "word"),
    [
        ("a: [1", "6:1", "flow sequence"),
        ("a: 1\n b: 2", "6:3", "mapping values"),
        ("a:\n\tb: 1", "6:1", "tab"),
        ("a: 1\nb: 2\na: 3", "7:1", 'the key "a"'),
        ("{a: 1, a: 2}", "5:8", 'the key "a"'),
        ('{"a": 1, "a": 2}', "5:10", 'the key "a"'),
        ("<<: {}\n<<: {}", "6:1", 'the key "<<"'),
        ("? [a]\n: 1", "5:3", "keys are strings"),
        ("a: *x", "5:4", "no anchor"),
        ("a: &x [*x]", "5:8", "contains itself"),
        ("a: &x {<<: *x}", "5:12", "contains itself"),
        ("a: &x 1\nb: &x [*x]", "6:8", "contains itself"),
        ("<<: 7", "5:5", "merges only mappings"),
        ("<<: [{}, 7]", "5:5", "merges only mappings"),
        ("a: !!binary aGk=", "5:4", "tag"),
        ("a: !!python/object:os.system x", "5:4", "tag"),
        ("a: !!set {b}", "5:4", "tag"),
        ("a: !!int x", "5:4", "tag"),
        ("a: 'x\x07'", "5:6", "U+0007"),
        ("a: 1\nb: \x00", "6:4", "U+0000"),
        ("a: x\udcff", "5:5", "0xff"),
        ("a: x\ud800", "5:5", "U+D800"),
        ('{"a": "\\ud800"}', "5:10", "escape"),
        ("[" * 201 + "]" * 201, "5:201", "nested"),
        ('{"a":' * 201 + "1" + "}" * 201, "5:1001", "nested"),
        ('{"a":' * 100_000, "5:1001", "nested"),
        ("[" * 100_000, "5:201", "nested"),
        ("a: @x", "5:4", "cannot start"),
    ],
)
def test_a_broken_document_is_a_fault_with_its_place_and_hides_no_other(
    text: str, at: str, word: str
) -> None:
    read = read_documents(f"---\nfirst: 1\n...\n---\n{text}\n---\nlast: 1\n", "f.yaml")

    assert values(read) == [{"first": 1}, {"last": 1}]
    [fault] = said(read)
    assert fault.startswith(f"f.yaml:{at}: ")
    assert word in fault


def test_a_directive_belongs_to_the_document_after_it() -> None:
    read = read_documents("a: 1\n...\n%YAML 3.0\n---\nb: 1\n---\nc: 1\n", "f.yaml")

    assert values(read) == [{"a": 1}, {"c": 1}]
    [fault] = said(read)
    assert fault.startswith("f.yaml:3:1: ")


def test_a_bomb_of_aliases_is_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    merges = ["b0: &b0 {x: 1}", *(f"b{n}: &b{n} {{y{n}: [*b{n - 1}, *b{n - 1}]}}" for n in range(1, 40))]

    for text in ("\n".join(lines), "\n".join(merges)):
        assert "aliases add more than" in said(read_documents(text, "f.yaml"))[0]


POSITIONED = """\
# comment
kind: A
spec:
  rules:
  - from:
    - a: {b: [x, y]}
    ports: []
  "on": &x
    c: 1
  d:
  e: *x
"""


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ((), 2, 1),
        (("kind",), 2, 1),
        (("spec",), 3, 1),
        (("spec", "rules", 0), 5, 5),
        (("spec", "rules", 0, "from", 0, "a"), 6, 7),
        (("spec", "rules", 0, "from", 0, "a", "b", 1), 6, 18),
        (("spec", "rules", 0, "ports"), 7, 5),
        (("spec", "on", "c"), 9, 5),
        (("spec", "d"), 10, 3),
        (("spec", "e"), 11, 3),
        (("spec", "e", "c"), 9, 5),
    ],
)
def test_a_position_is_that_of_the_key_or_of_the_item(path: FieldPath, line: int, column: int) -> None:
    [document] = read_documents(POSITIONED, "f.yaml").documents

    assert (document.positions[path].line, document.positions[path].column) == (line, column)
    assert path in document.positions
    assert path in set(document.positions)
    assert len(document.positions) == len(set(document.positions))


@pytest.mark.parametrize(
    "path", [("nothing",), ("kind", "x"), ("spec", "rules", 1), ("spec", "rules", "from")]
)
def test_what_is_not_in_the_file_has_no_position(path: FieldPath) -> None:
    [document] = read_documents(POSITIONED, "f.yaml").documents

    assert path not in document.positions


LISTS = (
    "apiVersion: v1\nkind: List\nitems:\n- kind: A\n  x: 1\n- kind: PodList\n  apiVersion: v1\n  items:\n  - x: 2\n  - x: 3\n",
    (
        '{"kind": "List", "items": [\n{"kind": "A",\n"x": 1},\n{"kind": "PodList", "apiVersion": "v1", '
        '"items": [{\n"x": 2},\n{\n"x": 3}]}]}'
    ),
)


@pytest.mark.parametrize(("text", "lines"), list(zip(LISTS, ([5, 9, 10], [3, 5, 7]), strict=True)))
def test_lists_are_replaced_by_their_items_with_their_positions(text: str, lines: list[int]) -> None:
    read = read_documents(text, "f")
    pod = {"apiVersion": "v1", "kind": "Pod"}

    assert values(read) == [{"kind": "A", "x": 1}, pod | {"x": 2}, pod | {"x": 3}]
    assert [document.positions[("x",)].line for document in read.documents] == lines


def test_json_objects_one_after_another_have_their_own_positions() -> None:
    read = read_documents('\n{"a": 1}\n\n{"b":\n 2}  {"c": 3}\n{"d": 4}', "f")
    found = [document.positions[path] for document in read.documents for path in document.positions if path]

    assert [(position.line, position.column) for position in found] == [(2, 2), (4, 2), (5, 7), (6, 2)]


EMPTY = ("", "\nitems:", "\nitems: []", "\nmetadata: {}")


@pytest.mark.parametrize("text", [f"kind: {kind}{end}" for kind in ("List", "PodList") for end in EMPTY])
def test_an_empty_list_holds_no_documents(text: str) -> None:
    assert read_documents(text, "f") == Read((), ())


@pytest.mark.parametrize("kind", ["List", "NetworkPolicyList"])
@pytest.mark.parametrize("items", ["{}", "none", "7", "{kind: Pod}"])
def test_a_list_whose_items_are_no_list_is_a_fault_with_its_place(kind: str, items: str) -> None:
    read = read_documents(f"kind: Pod\n---\nkind: {kind}\nitems: {items}\n", "f.yaml")

    assert values(read) == [{"kind": "Pod"}]
    [fault] = read.faults
    assert str(fault).startswith("f.yaml:4:1: ")
    assert "items: must be a list of objects" in str(fault)


def test_an_object_with_a_name_is_no_list_whatever_its_kind_ends_in() -> None:
    tree = {"kind": "AllowList", "metadata": {"name": "a"}, "spec": {}}
    assert values(read_documents(json.dumps(tree), "f")) == [tree]


@given(st.lists(POLICIES, max_size=3), st.sampled_from(["yaml", "json", "list", "flow"]))
def test_written_objects_are_read_back(policies: list[NetworkPolicy], form: str) -> None:
    trees = [policy_tree(policy) for policy in policies]
    text = {
        "yaml": yaml.safe_dump_all(trees),
        "flow": yaml.safe_dump_all(trees, default_flow_style=True, explicit_start=True),
        "json": "\n".join(json.dumps(tree) for tree in trees),
        "list": json.dumps({"kind": "List", "items": trees}, indent="\t"),
    }[form]
    read = read_documents(text, "f")

    assert values(read) == trees
    assert not read.faults
    for document in read.documents:
        assert document.positions[("spec", "podSelector")].line >= 1


@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"%#\n\t <?,.~"))
def test_any_text_is_read_or_faulted_with_a_place_inside_it(text: str) -> None:
    read = read_documents(text, "f")

    for fault in read.faults:
        assert fault.position is not None
        assert 1 <= fault.position.line <= text.count("\n") + text.count("\r") + 2
        assert fault.position.column >= 1
    for document in read.documents:
        assert all(path == () or document.positions[path] for path in document.positions)


@given(JSON.filter(lambda value: isinstance(value, dict)))
def test_any_json_object_is_read_as_json_reads_it(value: object) -> None:
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return
    assert values(read_documents(text, "f")) == [value]
