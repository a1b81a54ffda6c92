"""Streams of watches that an API server gone wrong may send: kopf sees well-formed events only, and none is lost for long."""

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from compilers.model.settings import EXISTING_CONNECTIONS
from policy_controller.controller.answers import LONGEST_LINE, Lines, Losses, listing
from policy_controller.controller.tests.objects import policy

GOOD = json.dumps({"type": "ADDED", "object": policy("good", version=1)}).encode() + b"\n"
LATER = json.dumps({"type": "MODIFIED", "object": policy("good", version=9)}).encode() + b"\n"


@dataclass
class Lab:
    """Counts what is left out, and the most that was ever held."""

    unreadable: int = 0
    gaps: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)

    def losses(self) -> Losses:
        def unreadable() -> None:
            self.unreadable += 1

        def gap() -> None:
            self.gaps += 1

        return Losses(unreadable, gap)

    async def hear(self, chunks: Iterable[bytes]) -> None:
        """As kopf hears a stream: each line is decoded by itself."""
        async for line in Lines(Chunks(chunks), self.losses()).iter_chunked(1 << 20):
            self.seen.append(json.loads(line))


@dataclass
class Chunks:
    """A stream that arrives in these pieces."""

    chunks: Iterable[bytes]

    async def iter_chunked(self, n: int) -> AsyncIterator[bytes]:
        """Each piece, cut where it is longer."""
        for chunk in self.chunks:
            for start in range(0, len(chunk), n):
                yield chunk[start : start + n]


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


def added(tree: object) -> bytes:
    return line({"type": "ADDED", "object": tree})


def with_metadata(**metadata: object) -> bytes:
    tree = policy("sly", version=2)
    return added(tree | {"metadata": tree["metadata"] | metadata})


LEFT_OUT: dict[str, bytes] = {
    "no object": line({"type": "ADDED"}),
    "object is a list": added([]),
    "no metadata": added({"kind": "NetworkPolicy"}),
    "metadata is a list": added({"metadata": [1]}),
    "metadata is null": added({"metadata": None}),
    "no name": added({"metadata": {}}),
    "name is a mapping": with_metadata(name={"a": 1}),
    "namespace is a number": with_metadata(namespace=7),
    "uid is a list": with_metadata(uid=[1]),
    "version is a number": with_metadata(resourceVersion=7),
    "a bookmark without metadata": line({"type": "BOOKMARK", "object": {}}),
}
GAPS: dict[str, bytes] = {
    "no JSON": b"{\n",
    "half an event": GOOD[:40] + b"\n",
    "bytes of gzip": b"\x1f\x8b\x08\x00\xff\n",
    "a type that is new": line({"type": "SHIFTED", "object": policy("sly")}),
    "a type that is a number": line({"type": 7, "object": policy("sly")}),
    "a list": b"[]\n",
    "null": b"null\n",
}
SEEN: dict[str, bytes] = {
    "invalid UTF-8": added(policy("sly") | {"x": "?"}).replace(b"?", b"\xff\xfe"),
    "half a surrogate pair": with_metadata(labels={"a": "\ud800"}),
    "deep annotations": with_metadata(annotations="?").replace(
        b'"?"', b'{"a":' * 10_000 + b"1" + b"}" * 10_000
    ),
    "deep spec": added(policy("sly") | {"spec": "?"}).replace(b'"?"', b"[" * 10_000 + b"]" * 10_000),
    "a number beyond every range": added(policy("sly") | {"spec": "?"}).replace(b'"?"', b"1e400"),
    "a version that is text": with_metadata(resourceVersion="x" * 1_000),
    "a kind that is a number": added(policy("sly") | {"kind": 7}),
    "finalizers that are no list": with_metadata(finalizers={"a": 1}, annotations=[1], ownerReferences=7),
    "no uid": with_metadata(uid=None),
    "created at a number": with_metadata(uid=None, creationTimestamp=None),
}


@pytest.mark.parametrize("name", LEFT_OUT)
async def test_an_object_that_does_not_say_who_it_is_is_left_out_and_counted(name: str) -> None:
    lab = Lab()
    await lab.hear([GOOD, LEFT_OUT[name], LATER])
    assert [event["type"] for event in lab.seen] == ["ADDED", "MODIFIED"]
    assert (lab.unreadable, lab.gaps) == (1, 0)


@pytest.mark.parametrize("name", GAPS)
async def test_an_event_that_cannot_be_read_is_left_out_and_a_list_is_asked_for(name: str) -> None:
    lab = Lab()
    await lab.hear([GOOD, GAPS[name], LATER])
    assert [event["type"] for event in lab.seen] == ["ADDED", "MODIFIED"]
    assert (lab.unreadable, lab.gaps) == (0, 1)


@pytest.mark.parametrize("name", SEEN)
async def test_an_object_that_has_a_name_is_seen_whatever_else_it_holds(name: str) -> None:
    lab = Lab()
    await lab.hear([SEEN[name], LATER])
    sly, _ = lab.seen
    assert sly["object"]["metadata"]["name"] == "sly"
    assert not {"annotations", "finalizers", "managedFields"} & sly["object"]["metadata"].keys()
    assert (lab.unreadable, lab.gaps) == (0, 0)


async def test_of_annotations_only_the_choice_about_open_connections_is_seen() -> None:
    chosen = {EXISTING_CONNECTIONS: "cut"}
    lab = Lab()
    await lab.hear([added({"metadata": {"name": "a", "annotations": {**chosen, "other": "x"}}})])
    await lab.hear([added({"metadata": {"name": "b", "annotations": {EXISTING_CONNECTIONS: {"a": 1}}}})])
    first, second = (one["object"]["metadata"] for one in lab.seen)
    assert (first["annotations"], "annotations" in second) == (chosen, False)


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
async def test_lines_are_the_same_however_they_are_cut(size: int) -> None:
    text = GOOD + GAPS["no JSON"] + LATER * 3
    lab = Lab()
    await lab.hear(text[start : start + size] for start in range(0, len(text), size))
    assert [event["type"] for event in lab.seen] == ["ADDED", *["MODIFIED"] * 3]


async def test_an_endless_line_is_not_held_and_the_next_is_heard() -> None:
    held = Lab()
    chunk = b"x" * (1 << 20)
    await held.hear([GOOD, *[chunk] * (50 + (LONGEST_LINE >> 20)), b"\n", LATER])
    assert [event["type"] for event in held.seen] == ["ADDED", "MODIFIED"]
    assert held.gaps >= 1


@pytest.mark.parametrize("text", [b"<html>\n", b"{}\n", b"{", b"[]\n"])
async def test_an_answer_that_begins_with_something_else_is_seen_as_it_is_and_ends_the_watch(
    text: bytes,
) -> None:
    seen = [line async for line in Lines(Chunks([text]), Lab().losses()).iter_chunked(10)]
    assert seen == [text.rstrip(b"\n") + b"\n"]


@pytest.mark.parametrize(
    ("given", "code"),
    [({"code": 410, "message": "x" * 9_000}, 410), ({}, 500), (None, 500), ({"code": "410"}, 500), ([], 500)],
)
async def test_an_error_is_told_with_a_code_and_briefly(given: object, code: int) -> None:
    lab = Lab()
    await lab.hear([line({"type": "ERROR", "object": given})])
    (event,) = lab.seen
    assert event["object"]["code"] == code
    assert len(event["object"]["message"]) <= 500


@pytest.mark.parametrize("items", [None, 7, {}, [None, 7, [], {"metadata": []}]])
def test_a_list_shows_the_items_that_have_a_name(items: object) -> None:
    lab = Lab()
    every = [*items, policy("good")] if isinstance(items, list) else items
    seen: Any = listing({"kind": "NetworkPolicyList", "metadata": None, "items": every}, lab.losses())
    assert [item["metadata"]["name"] for item in seen["items"]] == (
        ["good"] if isinstance(items, list) else []
    )
    assert lab.unreadable == (4 if isinstance(items, list) else 0)
