"""Policies as trees and as files: read or faulted, and what is read without faults means the same once written again."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.cluster import Cluster
from compilers.model.policy import NetworkPolicy
from compilers.parse.cluster import parse_cluster
from compilers.parse.field import Origin
from compilers.parse.policy import parse_policy
from compilers.parse.source import read_documents
from policy_controller.testing.extent import Extent
from policy_controller.testing.fuzz.mutations import changed_bytes, changed_text, changed_tree, long_inputs
from policy_controller.testing.fuzz.tests.told import ACCEPTED, COUNTED, Record
from policy_controller.testing.fuzz.tries import SECONDS, processor_seconds, tries
from policy_controller.testing.generators.api_objects import api_objects

pytestmark = pytest.mark.timeout(900)

EXAMPLES: Final = Path(__file__).parents[4] / "examples"
FILES: Final = [path.read_text() for path in sorted(EXAMPLES.glob("*/policies.yaml"))]
TREES: Final = [tree for text in FILES for tree in yaml.safe_load_all(text) if tree is not None]
VALUES: Final[tuple[Any, ...]] = (
    *(
        "",
        "*",
        "10.0.0.0/8",
        "10.0.0.1/8",
        "::/0",
        "::ffff:10.0.0.0/104",
        "010.0.0.0/8",
        "TCP",
        "tcp",
        "In",
        "Exists",
    ),
    *(
        "http",
        "80",
        "a.b/c",
        "-",
        "Ingress",
        "Egress",
        "ingress",
        "\ud800",
        "\x1b[31m",
        "a" * 64,
        "${x}",
        "{drop}",
    ),
    *(0, 1, 80, 65535, 65536, -1, 2**63, 1e400, 80.0, 80.5, True, False, None, [], {}, [None], {"": None}),
)
WORDS: Final = (
    *(
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "&a ",
        "*a",
        "<<: ",
        "!!str ",
        "!!binary ",
        "? ",
        ": ",
        "- ",
        "|\n",
        ">\n",
    ),
    *(
        "\t",
        "\r",
        "\x85",
        "\u2028",
        "\ufeff",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "\\u0000",
        "0x10",
        "010",
        "1_0",
        "1:30",
    ),
    *(
        "yes",
        "no",
        "on",
        "~",
        ".nan",
        "null",
        "endPort: 90\n",
        "except: []\n",
        "from: []\n",
        "podSelector: {}\n",
    ),
)
LONG: Final = (
    "[",
    "{a: ",
    "- ",
    "? ",
    "&a *a ",
    "a: &a [*a]\n",
    "'",
    '"\\',
    "---\n",
    "%",
    '{"a":',
    "!",
    "|\n ",
    "<<: ",
    "a:\n ",
    "\t",
)


def meaning(policy: NetworkPolicy) -> tuple[object, ...]:
    """What decides about traffic."""
    return policy.namespace, policy.name, policy.subject, policy.sides


def again(policy: NetworkPolicy) -> NetworkPolicy:
    """The policy, written and read as a file."""
    cluster = Cluster.of(namespaces=(), pods=(), policies=(policy,), nodes=())
    (tree,) = [one for one in api_objects(cluster) if one["kind"] == "NetworkPolicy"]
    read = read_documents(yaml.safe_dump(tree), "again.yaml")
    assert not read.faults
    parsed = parse_policy(read.documents[0].value, Origin.FILE)
    assert parsed.value is not None
    assert not parsed.faults
    return parsed.value


@pytest.mark.parametrize("origin", Origin, ids=lambda origin: origin.name.lower())
def test_a_changed_policy_is_faulted_or_means_the_same_once_written_again(
    origin: Origin, extent: Extent, record_property: Record
) -> None:
    tried, accepted = [], []

    @tries(extent, 150, 10_000)
    @given(changed_tree(TREES, VALUES))
    def check(tree: Any) -> None:  # noqa: ANN401 - any JSON
        tried.append(tree)
        parsed = parse_policy(tree, origin)
        assert parsed.value is not None or parsed.faults
        for fault in (*parsed.faults, *parsed.warnings):
            assert str(fault).isprintable()
        if parsed.value is not None and not parsed.faults:
            accepted.append(tree)
            assert meaning(again(parsed.value)) == meaning(parsed.value)

    check()
    record_property(COUNTED, len(tried))
    record_property(ACCEPTED, len(accepted))
    assert accepted


def test_a_changed_file_is_read_or_faulted_inside_it_and_read_alike_once_written_again(
    extent: Extent, record_property: Record
) -> None:
    tried, accepted = [], []

    @tries(extent, 150, 10_000)
    @given(changed_text(FILES, WORDS) | changed_text([json.dumps(tree, indent=1) for tree in TREES], WORDS))
    def check(text: str) -> None:
        tried.append(text)
        read = read_documents(text, "f.yaml")
        lines = (
            text.count("\n")
            + text.count("\r")
            + text.count("\x85")
            + text.count("\u2028")
            + text.count("\u2029")
        )
        for fault in read.faults:
            assert fault.position is not None
            assert 1 <= fault.position.line <= lines + 2
        parse_cluster(read.documents)
        for document in read.documents:
            written = json.dumps(document.value)
            if "NaN" in written or "Infinity" in written or not isinstance(document.value, dict):
                continue
            accepted.append(text)
            value = json.loads(written)
            second = read_documents(yaml.safe_dump(value, sort_keys=False), "again.yaml")
            assert not second.faults
            if value == document.value and not str(value.get("kind")).endswith("List"):
                # Keys that are no strings become strings in JSON.
                assert [one.value for one in second.documents] == [value]

    check()
    record_property(COUNTED, len(tried))
    record_property(ACCEPTED, len(accepted))
    assert accepted


def test_any_bytes_are_read_or_faulted(extent: Extent, record_property: Record) -> None:
    tried = []

    @tries(extent, 100, 5_000)
    @given(st.binary(max_size=400) | changed_bytes([text.encode("utf-16") for text in FILES[:3]]))
    def check(content: bytes) -> None:
        tried.append(content)
        read = read_documents(content.decode("utf-8", "surrogateescape"), "f.yaml")
        parse_cluster(read.documents)

    check()
    record_property(COUNTED, len(tried))


@pytest.mark.parametrize("text", long_inputs(LONG, 1 << 16), ids=map(repr, LONG))
def test_no_file_takes_longer_than_its_length_allows(text: str) -> None:
    def read() -> None:
        parse_cluster(read_documents(text, "f.yaml").documents)

    assert processor_seconds(read) < SECONDS
