"""Volumes hold what they should, change all at once, and lead nowhere else."""

import base64
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from policy_controller.testing.kubelet.contents import Cupboard, MissingError, content_of
from policy_controller.testing.kubelet.spec import PodSpec, TokenSource, read_pod_spec
from policy_controller.testing.kubelet.volumes import Content, File, VolumeDirectory, VolumeError

Json = dict[str, Any]
ROUNDS = 200


def content(**files: str) -> Content:
    return Content({name: File(text.encode(), 0o644) for name, text in files.items()})


def seen(directory: Path) -> dict[str, str]:
    """What a container finds at the mount point: names that do not begin with two dots."""
    return {path.name: path.read_text() for path in directory.iterdir() if not path.name.startswith("..")}


def test_volume_holds_what_it_was_last_told(tmp_path: Path) -> None:
    volume = VolumeDirectory(tmp_path / "v")
    assert volume.hold(content(a="1", b="2"))
    assert seen(tmp_path / "v") == {"a": "1", "b": "2"}
    assert not volume.hold(content(a="1", b="2"))
    assert volume.hold(content(b="3", c="4"))
    assert seen(tmp_path / "v") == {"b": "3", "c": "4"}
    assert volume.hold(content())
    assert seen(tmp_path / "v") == {}
    assert len(list((tmp_path / "v").iterdir())) == 2, "the link and one directory"


def test_file_that_is_open_keeps_what_it_had_and_one_opened_anew_has_the_new(tmp_path: Path) -> None:
    volume = VolumeDirectory(tmp_path / "v")
    volume.hold(content(token="old"))
    with (tmp_path / "v" / "token").open() as held:
        volume.hold(content(token="new"))
        assert held.read() == "old"
    assert (tmp_path / "v" / "token").read_text() == "new"


def test_reader_never_finds_a_file_half_written(tmp_path: Path) -> None:
    volume = VolumeDirectory(tmp_path / "v")
    volume.hold(content(token="x" * 4096))
    found: set[str] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            # Between the link and the file the old directory may go: so it is with a real kubelet, too.
            with contextlib.suppress(FileNotFoundError):
                found.add((tmp_path / "v" / "token").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(ROUNDS):
            volume.hold(content(token=str(number % 10) * 4096))
    finally:
        done.set()
        reader.join()
    assert found
    assert all(len(text) == 4096 and len(set(text)) == 1 for text in found)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..data", ""])
def test_path_that_leads_out_of_the_volume_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(VolumeError):
        VolumeDirectory(tmp_path / "v").hold(Content({name: File(b"", 0o644)}))


def test_path_with_folders_is_linked_by_its_first_one(tmp_path: Path) -> None:
    VolumeDirectory(tmp_path / "v").hold(Content({"a/b/c": File(b"1", 0o600)}))
    assert (tmp_path / "v" / "a" / "b" / "c").read_bytes() == b"1"
    assert (tmp_path / "v" / "a" / "b").stat().st_mode & 0o777 == 0o755


def pod_spec(volume: Json, security: Json | None = None) -> PodSpec:
    containers = [{"name": "app", "image": "app:1"}]
    return read_pod_spec(
        {"containers": containers, "volumes": [{"name": "v", **volume}], "securityContext": security or {}}
    )


STORED = {
    ("ConfigMap", "settings"): {
        "data": {"a": "1", "b": "2"},
        "binaryData": {"c": base64.b64encode(b"\xff").decode()},
    },
    ("Secret", "key"): {"data": {"k": base64.b64encode(b"s").decode()}},
}
POD: Json = {"metadata": {"name": "p", "namespace": "shop", "uid": "u"}, "spec": {}}
TOKEN = TokenSource(path="token", audience="x")


def filled(volume: Json, security: Json | None = None) -> Content | None:
    spec = pod_spec(volume, security)
    cupboard = Cupboard(POD, lambda kind, name: STORED.get((kind, name)), {TOKEN: "t"})
    return content_of(spec.volumes[0], spec, cupboard)


CONTENTS: dict[str, tuple[Json, dict[str, bytes]]] = {
    "every key": ({"configMap": {"name": "settings"}}, {"a": b"1", "b": b"2", "c": b"\xff"}),
    "some keys, elsewhere": (
        {"configMap": {"name": "settings", "items": [{"key": "a", "path": "x/y"}]}},
        {"x/y": b"1"},
    ),
    "a secret": ({"secret": {"secretName": "key"}}, {"k": b"s"}),
    "an optional one that is not there": ({"configMap": {"name": "none", "optional": True}}, {}),
    "an optional key that is not there": (
        {"configMap": {"name": "settings", "optional": True, "items": [{"key": "z", "path": "z"}]}},
        {},
    ),
    "several sources": (
        {
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"path": "token", "audience": "x"}},
                    {"configMap": {"name": "settings", "items": [{"key": "a", "path": "a"}]}},
                    {"secret": {"name": "key"}},
                    {
                        "downwardAPI": {
                            "items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                        }
                    },
                ]
            }
        },
        {"token": b"t", "a": b"1", "k": b"s", "ns": b"shop"},
    ),
}


@pytest.mark.parametrize("case", CONTENTS, ids=str)
def test_volume_is_filled_from_what_it_names(case: str) -> None:
    volume, expected = CONTENTS[case]
    found = filled(volume)
    assert found is not None
    assert {name: file.content for name, file in found.files.items()} == expected


@pytest.mark.parametrize(
    ("volume", "named"),
    [
        ({"configMap": {"name": "none"}}, "none"),
        ({"secret": {"secretName": "none"}}, "none"),
        ({"configMap": {"name": "settings", "items": [{"key": "z", "path": "z"}]}}, 'no key "z"'),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": "other"}}]}},
            "token",
        ),
    ],
    ids=["ConfigMap", "Secret", "key", "token"],
)
def test_what_is_missing_is_waited_for_by_name(volume: Json, named: str) -> None:
    with pytest.raises(MissingError, match=named):
        filled(volume)


# "Service account token volume projection", and KEP-2451.
@pytest.mark.parametrize(
    ("security", "mode", "owner", "group"),
    [({}, 0o644, None, None), ({"runAsUser": 65532}, 0o600, 65532, None), ({"fsGroup": 7}, 0o600, None, 7)],
    ids=["nobody in particular", "one user", "a group"],
)
def test_token_is_readable_by_whom_the_pod_runs_as(
    security: Json, mode: int, owner: int | None, group: int | None
) -> None:
    source = {"serviceAccountToken": {"path": "token", "audience": "x"}}
    found = filled({"projected": {"sources": [source]}}, security)
    assert found is not None
    assert (found.files["token"].mode, found.files["token"].owner, found.group) == (mode, owner, group)
