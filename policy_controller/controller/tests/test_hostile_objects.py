"""Objects made to hide from kopf, or to make it write: the operator sees them all, and the API server is left alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from policy_controller.controller.tests.objects import Tree, new, pod
from policy_controller.controller.tests.running import Running, operator_of
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiServer

KOPF_MARK = "kopf.zalando.org/last-handled-configuration"
KOPF_FINALIZER = "kopf.zalando.org/KopfFinalizerMarker"


def annotated(tree: Tree) -> Tree:
    """An annotation from which kopf's own storage cannot decode what it stored."""
    tree["metadata"]["annotations"] = {KOPF_MARK: "{"}
    return tree


def finalized(tree: Tree) -> Tree:
    """An object of another operator that is made with kopf."""
    tree["metadata"]["finalizers"] = [KOPF_FINALIZER]
    return tree


@asynccontextmanager
async def watching(server: ApiServer, folder: Path) -> AsyncIterator[Running]:
    """An operator whose LISTs are over, so that what it learns now it learns from kopf."""
    async with operator_of(server, folder, relist_seconds=3600.0) as running:
        yield running


def shows(running: Running, name: str, address: str) -> bool:
    """Whether the operator knows the pod with this address."""
    pods = running.operator.store.cluster().pods
    return any(one.name == name and address in map(str, one.addresses) for one in pods)


async def test_an_annotation_that_kopf_cannot_decode_hides_no_change(
    server: ApiServer, tmp_path: Path
) -> None:
    async with watching(server, tmp_path) as running:
        for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
            server.apply(new(annotated(pod("sly", address=address))))
            await eventually(partial(shows, running, "sly", address))
        assert not running.operator.relister.repairs


async def test_nothing_is_written_to_watched_objects(server: ApiServer, tmp_path: Path) -> None:
    server.create(new(finalized(annotated(pod("sly", address="10.0.0.1")))))
    before = server.get("Pod", "sly", "shop")
    async with watching(server, tmp_path) as running:
        server.create(new(pod("last", address="10.0.0.9")))
        await eventually(partial(shows, running, "last", "10.0.0.9"))
    assert server.get("Pod", "sly", "shop") == before
