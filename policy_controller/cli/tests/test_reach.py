"""The way through the API server into the operator's pod, and a sentence for each obstacle on it."""

import asyncio
import os
import stat
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from policy_controller import bounded
from policy_controller.cli.reach.admin import document
from policy_controller.cli.reach.way import ADMIN_PORT, NotReached, Way
from policy_controller.cli.tests.forwarding_api import NAMESPACE, ForwardingApi, pod
from policy_controller.testing.api_server.certificates import CertificateAuthority

LONG: Final = b"x" * 300_000
KUBECTL: Final = f"""#!{sys.executable}
import signal, sys
if "get" in sys.argv:
    print('{{"items": [{{"metadata": {{"name": "a"}}, "status": {{"phase": "Running"}}}}]}}')
elif "PORT" == "0":
    sys.exit("error: Forbidden")
else:
    assert "pod/a" in sys.argv and ":{ADMIN_PORT}" in sys.argv, sys.argv
    print("Forwarding from 127.0.0.1:PORT -> {ADMIN_PORT}", flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def no_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


@asynccontextmanager
async def admin() -> AsyncIterator[int]:
    """The port of something like an admin interface."""

    async def long(_: web.Request) -> web.Response:
        return web.Response(body=LONG)

    async def who(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Host"])

    application = web.Application()
    application.add_routes([web.get("/long", long), web.get("/who", who)])
    async with bounded.serving(application, "127.0.0.1", 0) as (_, port):
        yield port


def way(kubeconfig: Path | None, context: str | None = None) -> Way:
    return Way(NAMESPACE, ADMIN_PORT, None if kubeconfig is None else str(kubeconfig), context)


async def test_a_long_answer_comes_whole_out_of_the_pod(tmp_path: Path) -> None:
    async with admin() as port, ForwardingApi(behind=port).running() as api:
        assert await document("/long", url=None, way=way(api.kubeconfig(tmp_path))) == LONG
    assert api.asked == [f"policy-controller-1:{ADMIN_PORT}"]


async def test_nothing_stays_behind_and_no_other_user_could_come_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = tmp_path / "kept"
    kept.mkdir()
    seen: list[int] = []

    def look() -> None:
        seen.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("policyctl-*"))

    async def looking(_: web.Request) -> web.Response:
        look()
        return web.Response(text="ok")

    application = web.Application()
    application.add_routes([web.get("/look", looking)])
    async with (
        bounded.serving(application, "127.0.0.1", 0) as (_, port),
        ForwardingApi(behind=port).running() as api,
    ):
        # kr8s writes what a kubeconfig holds itself into a file.
        authority = CertificateAuthority().pem
        await document("/look", url=None, way=way(api.kubeconfig(kept, authority)))
    assert seen == [0o700]
    assert os.listdir(tmp_path) == ["kept"]


PODS = [
    ([pod("b", ready="False"), pod("c"), pod("d")], "c"),
    ([pod("b", ready="False"), pod("c", deletionTimestamp="2026-01-01T00:00:00Z")], "b"),
    ([pod("b", phase="Failed"), pod("c", ready="False")], "c"),
]


@pytest.mark.parametrize(("pods", "chosen"), PODS)
async def test_a_running_pod_is_asked_rather_a_ready_one(
    tmp_path: Path, pods: list[dict[str, object]], chosen: str
) -> None:
    async with admin() as port, ForwardingApi(pods=pods, behind=port).running() as api:
        await document("/who", url=None, way=way(api.kubeconfig(tmp_path)))
    assert api.asked == [f"{chosen}:{ADMIN_PORT}"]


OBSTACLES = [
    (ForwardingApi(refuses={"/pods": 403}), "you lack the permission `list` on pods in namespace"),
    (ForwardingApi(refuses={"/portforward": 403}), "`get` (or `create`) on pods/portforward in namespace"),
    (ForwardingApi(refuses={"/version/": 401}), "does not accept your credentials"),
    (ForwardingApi(refuses={"/portforward": 500}), "answers 500 to"),
    (ForwardingApi(), "the pod does not let us in: connection refused"),
    (ForwardingApi(pods=[]), f"no pod of namespace {NAMESPACE} has the labels"),
    (
        ForwardingApi(pods=[pod("a", phase="Pending")]),
        f"no operator runs in namespace {NAMESPACE}: a is Pending",
    ),
    (ForwardingApi(pods=[{"metadata": {"name": 7}}]), "list of pods cannot be read"),
]


@pytest.mark.parametrize(("api", "words"), OBSTACLES, ids=[words for _, words in OBSTACLES])
async def test_every_obstacle_on_the_way_is_one_sentence(
    tmp_path: Path, api: ForwardingApi, words: str
) -> None:
    async with asyncio.timeout(15), api.running():
        with pytest.raises(NotReached) as caught:
            await document("/status", url=None, way=way(api.kubeconfig(tmp_path)))
    assert words in str(caught.value)


NO_CREDENTIALS = [
    ("", None, "no credentials for a cluster"),
    ("][", None, "no credentials for a cluster"),
    ("{contexts: 7}", None, "no credentials for a cluster"),
    (None, "other", "No such context other"),
    (None, None, "the API server is not reached"),
]


@pytest.mark.parametrize(("text", "context", "words"), NO_CREDENTIALS)
async def test_credentials_that_lead_nowhere_are_told(
    tmp_path: Path, text: str | None, context: str | None, words: str
) -> None:
    async with ForwardingApi().running() as api:
        kubeconfig = api.kubeconfig(tmp_path)
    if text is not None:
        kubeconfig.write_text(text)
    with pytest.raises(NotReached) as caught:
        await document("/status", url=None, way=way(kubeconfig, context))
    assert words in str(caught.value)


@asynccontextmanager
async def kubectl(folder: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Way]:
    """A cluster that only kubectl reaches, at that port; 0: kubectl does not either."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "kubectl").write_text(KUBECTL.replace("PORT", str(port)))
    (programs / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    async with ForwardingApi(refuses={"/portforward": 400}).running() as api:
        yield way(api.kubeconfig(folder))


async def test_kubectl_gets_through_where_a_websocket_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with admin() as port, kubectl(tmp_path, port, monkeypatch) as there:
        assert await document("/who", url=None, way=there) == f"127.0.0.1:{port}".encode()


async def test_what_kubectl_says_is_told_beside_the_first_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kubectl(tmp_path, 0, monkeypatch) as there:
        with pytest.raises(NotReached) as caught:
            await document("/who", url=None, way=there)
    first, second = str(caught.value).splitlines()
    assert first.startswith("the API server answers 400")
    assert second == "kubectl: error: Forbidden"


DIRECT = [
    ("https://127.0.0.1:1", "is not of the form"),
    ("127.0.0.1:1", "is not of the form"),
    ("http://127.0.0.1:1", "no answer"),
    ("http://127.0.0.1:{port}", "/nothing is answered with 404"),
]


@pytest.mark.parametrize(("url", "words"), DIRECT)
async def test_an_address_given_outright_is_asked_and_nothing_else(url: str, words: str) -> None:
    async with admin() as port:
        assert await document("/who", url=f"http://127.0.0.1:{port}", way=way(None)) == (
            f"127.0.0.1:{port}".encode()
        )
        with pytest.raises(NotReached) as caught:
            await document("/nothing", url=url.format(port=port), way=way(None))
    assert words in str(caught.value)
