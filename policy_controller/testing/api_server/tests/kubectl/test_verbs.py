"""Every verb of kubectl with every kind of an installation."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import yaml

from policy_controller.testing.api_server import ApiError
from policy_controller.testing.api_server.tests.kubectl.conftest import (
    COUNTED,
    Cluster,
    Record,
    edited,
    eventually,
    found,
)
from policy_controller.testing.api_server.tests.kubectl.kinds import LABEL, NAMED, OTHERS, Case


def stored(cluster: Cluster, case: Case, name: str = "web") -> dict[str, Any]:
    return cluster.server.get(case.kind, name)


def gone(cluster: Cluster, case: Case, name: str = "web") -> bool:
    try:
        cluster.server.get(case.kind, name)
    except ApiError as refusal:
        return refusal.code == 404
    return False


TOLD_WITHOUT_LABELS = {"LimitRange", "PodDisruptionBudget", "PriorityClass", "ResourceQuota"}
SENT_WHOLE = {"PodDisruptionBudget"}
"""kubectl sends its selector whole each time, and so always says `configured`."""


async def get(cluster: Cluster, case: Case) -> None:
    made = cluster.server.create(case.document())
    out = (await cluster.says("get", case.plural)).splitlines()
    assert out[0].split() == case.header.split()
    assert any(line.split()[0] == "web" for line in out[1:])
    wide = (await cluster.says("get", case.plural, "web", "-o", "wide")).splitlines()
    assert wide[0].split() == [*case.header.split(), *case.more.split()]
    assert len(wide) == 2
    assert (await cluster.says("get", case.plural, "web", "-o", "name")).strip() == f"{case.singular}/web"
    uid = await cluster.says("get", case.plural, "web", "-o", "jsonpath={.metadata.uid}")
    assert uid == made["metadata"]["uid"]


async def get_whole(cluster: Cluster, case: Case) -> None:
    made = cluster.server.create(case.document())
    assert yaml.safe_load(await cluster.says("get", case.plural, "web", "-o", "yaml")) == made
    listed = json.loads(await cluster.says("get", case.plural, "-o", "json"))
    assert made in listed["items"]


async def select(cluster: Cluster, case: Case) -> None:
    cluster.server.create(case.document("web", labels={"stage": "a"}))
    cluster.server.create(case.document("other", labels={"stage": "b"}))
    for flags in (
        ("-l", "stage=a"),
        ("-l", "stage in (a),stage!=b"),
        ("-l", "stage", "--field-selector", "metadata.name!=other"),
        ("-A", "--field-selector", "metadata.name=web"),
    ):
        out = await cluster.says("get", case.plural, *flags, "-o", "name")
        assert out.splitlines() == [f"{case.singular}/web"]
    everywhere = (await cluster.says("get", case.plural, "-A", "-l", "stage", "-L", "stage")).splitlines()
    assert (everywhere[0].split()[0] == "NAMESPACE") is case.namespaced
    assert [line.split()[-1] for line in everywhere[1:]] == ["b", "a"]


async def describe(cluster: Cluster, case: Case) -> None:
    cluster.server.create(case.document("web", labels={"stage": "described"}))
    out = await cluster.says("describe", case.plural, "web")
    assert out.splitlines()[0].split() == ["Name:", "web"]
    assert "stage=described" in out or case.kind in TOLD_WITHOUT_LABELS


async def apply(cluster: Cluster, case: Case) -> None:
    path, value = case.change
    before = edited(case.document(), LABEL, "a")
    if found(before, case.removal) is None:
        before = edited(before, case.removal, value)
    assert await cluster.applies(before) == ["created"]
    same = "configured" if case.kind in SENT_WHOLE else "unchanged"
    assert await cluster.applies(before) == [same]
    manifest = cluster.file(edited(before, path, value))
    changes = await cluster.run("diff", "-f", manifest)
    differs = found(before, path) != value
    assert changes.code == (1 if differs else 0), changes.err
    assert (await cluster.says("apply", "-f", manifest)).split()[-1] == ("configured" if differs else same)
    assert found(stored(cluster, case), path) == value
    lessened = edited(before, case.removal, None)
    assert await cluster.applies(lessened) == ["configured"]
    left = found(stored(cluster, case), case.removal)
    # What the server sets by itself comes back.
    assert left in (None, [], {"kubernetes.io/metadata.name": "web"})
    assert await cluster.applies(lessened) == [same]


SERVER_SIDE = ("--server-side", "--field-manager")


async def apply_on_the_server(cluster: Cluster, case: Case) -> None:
    path, value = case.change
    before = case.document("web", labels={"own": "one", "stage": "a"})
    assert await cluster.applies(before, flags=(*SERVER_SIDE, "one")) == ["serverside-applied"]
    version = stored(cluster, case)["metadata"]["resourceVersion"]
    assert await cluster.applies(before, flags=(*SERVER_SIDE, "one")) == ["serverside-applied"]
    assert stored(cluster, case)["metadata"]["resourceVersion"] == version
    await cluster.applies(edited(before, path, value), flags=(*SERVER_SIDE, "one"))
    assert found(stored(cluster, case), path) == value
    theirs = cluster.file(edited(case.document(), LABEL, "c"))
    refused = await cluster.complains("apply", "-f", theirs, *SERVER_SIDE, "two")
    assert 'conflict with "one"' in refused or 'conflicts with "one"' in refused
    assert ".metadata.labels.stage" in refused
    await cluster.says("apply", "-f", theirs, *SERVER_SIDE, "two", "--force-conflicts")
    assert found(stored(cluster, case), LABEL) == "c"
    managers = {entry["manager"] for entry in stored(cluster, case)["metadata"]["managedFields"]}
    assert managers == {"one", "two"}


async def create_and_replace(cluster: Cluster, case: Case) -> None:
    path, value = case.change
    document = case.document()
    assert "created" in await cluster.says("create", "-f", cluster.file(document))
    assert "AlreadyExists" in await cluster.complains("create", "-f", cluster.file(document))
    changed = edited(document, path, value)
    assert "replaced" in await cluster.says("replace", "-f", cluster.file(changed))
    assert found(stored(cluster, case), path) == value
    version = {"resourceVersion": "1"}
    stale = {**changed, "metadata": {"name": "web", **version}}
    assert "Conflict" in await cluster.complains("replace", "-f", cluster.file(stale))


async def patch(cluster: Cluster, case: Case) -> None:
    cluster.server.create(case.document("web", labels={"old": "x"}))
    patches: dict[str, Any] = {
        "strategic": {"metadata": {"labels": {"stage": "strategic"}}},
        "merge": {"metadata": {"labels": {"stage": "merge", "old": None}}},
        "json": [{"op": "replace", "path": "/metadata/labels/stage", "value": "json"}],
    }
    for kind, body in patches.items():
        flags = ("--type", kind, "-p", json.dumps(body))
        assert "patched" in await cluster.says("patch", case.plural, "web", *flags)
        assert found(stored(cluster, case), LABEL) == kind
    assert "old" not in stored(cluster, case)["metadata"]["labels"]
    words = ("--type", "merge", "-p", json.dumps({"metadata": {"labels": {"stage": "json"}}}))
    assert "(no change)" in await cluster.says("patch", case.plural, "web", *words)


async def delete(cluster: Cluster, case: Case) -> None:
    for name in ("a", "b", "c", "web"):
        cluster.server.create(case.document(name, labels={"stage": name}))
    assert "deleted" in await cluster.says("delete", case.plural, "a")
    assert "NotFound" in await cluster.complains("delete", case.plural, "a")
    assert "deleted" in await cluster.says("delete", case.plural, "-l", "stage=b")
    assert "deleted" in await cluster.says("delete", "-f", cluster.file(case.document("c")))
    assert [gone(cluster, case, name) for name in ("a", "b", "c", "web")] == [True, True, True, False]
    if case.kind != "Namespace":  # those that every cluster has cannot be deleted
        assert "deleted" in await cluster.says("delete", case.plural, "--all")
        assert gone(cluster, case)


async def label_and_annotate(cluster: Cluster, case: Case) -> None:
    cluster.server.create(case.document())
    for verb, where in (("label", "labels"), ("annotate", "annotations")):
        await cluster.says(verb, case.plural, "web", "example.com/a=1")
        assert "already has a value" in await cluster.complains(verb, case.plural, "web", "example.com/a=2")
        await cluster.says(verb, case.plural, "web", "example.com/a=2", "--overwrite")
        assert stored(cluster, case)["metadata"][where]["example.com/a"] == "2"
        await cluster.says(verb, case.plural, "web", "example.com/a-")
        assert "example.com/a" not in stored(cluster, case)["metadata"].get(where, {})


async def watch(cluster: Cluster, case: Case) -> None:
    columns = "TYPE:.type,NAME:.object.metadata.name,STAGE:.object.metadata.labels.stage"
    words = ("get", case.plural, "-l", "watched", "-w", "--output-watch-events", "--no-headers")
    async with cluster.client.following(*words, "-o", f"custom-columns={columns}") as following:
        cluster.server.create(case.document("web", labels={"watched": "", "stage": "a"}))
        assert (await following.line()).split() == ["ADDED", "web", "a"]
        cluster.server.apply(case.document("web", labels={"watched": "", "stage": "b"}))
        assert (await following.line()).split() == ["MODIFIED", "web", "b"]
        cluster.server.delete(case.kind, "web")
        line = (await following.line()).split()
        if case.kind == "Namespace":  # it goes by way of Terminating
            assert line[0] == "MODIFIED"
            line = (await following.line()).split()
        assert line == ["DELETED", "web", "b"]
    async with cluster.client.following("get", case.plural, "-w") as following:
        cluster.server.create(case.document("later"))
        assert (await following.line()).split() == case.header.split()
        await following.until("later")


async def wait(cluster: Cluster, case: Case) -> None:
    cluster.server.create(case.document("web", labels={"stage": "begun"}))
    for_label = f"--for=jsonpath={{.{LABEL}}}=done"
    async with cluster.client.following("wait", case.plural, "web", for_label) as following:
        await eventually(lambda: cluster.server.open_watches == 1)
        cluster.server.apply(case.document("web", labels={"stage": "done"}))
        assert "condition met" in await following.line()
    async with cluster.client.following("wait", case.plural, "web", "--for=delete") as following:
        await eventually(lambda: cluster.server.open_watches == 1)
        cluster.server.delete(case.kind, "web")
        assert "condition met" in await following.line()
    assert (await cluster.run("wait", case.plural, "web", "--for=delete")).code == 0


Verb = Callable[[Cluster, Case], Awaitable[None]]
ALWAYS: tuple[Verb, ...] = (apply, apply_on_the_server, delete, describe, get, label_and_annotate, watch)
MORE: tuple[Verb, ...] = (create_and_replace, get_whole, patch, select, wait)
ALWAYS_KINDS = {"ClusterRole", "Deployment", "Pod"}


def _extent(case: Case, verb: Verb) -> tuple[pytest.MarkDecorator, ...]:
    """Which pairs only `make test-all` tries."""
    short = case in NAMED and (verb in ALWAYS or case.kind in ALWAYS_KINDS)
    return () if short else (pytest.mark.whole,)


CASES = [
    pytest.param(case, verb, id=f"{case.kind}-{verb.__name__}", marks=_extent(case, verb))
    for case in (*NAMED, *OTHERS)
    for verb in (*ALWAYS, *MORE)
]


@pytest.mark.parametrize(("case", "verb"), CASES)
async def test_kubectl_does_its_verb_with_the_kind(
    cluster: Cluster, case: Case, verb: Verb, record_property: Record
) -> None:
    await verb(cluster, case)
    record_property(COUNTED, 1)
