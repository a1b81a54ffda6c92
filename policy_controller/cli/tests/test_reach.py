"""The way through the API server into the operator's pod, and a sentence for each obstacle on it."""

import asyncio
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from aiohttp import web

from policy_controller import bounded
from policy_controller.cli.reach.admin import document
from policy_controller.cli.reach.way import (
    ADMIN_PORT,
    SELECTOR,
    NoOperator,
    NotReached,
    Way,
    running_pod,
)
from policy_controller.cli.tests.installed import (
    MAY_FORWARD,
    MAY_LIST,
    NAMESPACE,
    POD,
    RULES,
    Document,
    installed,
    pod,
)
from policy_controller.testing.api_server.faults import Fault, Faults, Refuse, Requests, Verb

ROOT: Final = Path(__file__).parents[3]
YAML: Final = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONG: Final = b"x" * 300_000
LISTED: Final = {"items": [{"metadata": {"name": POD}, "status": {"phase": "Running"}}]}
KUBECTL: Final = f"""#!{sys.executable}
import signal, sys
if "get" in sys.argv:
    print({msgspec.json.encode(LISTED).decode()!r})
elif "AT" == "nowhere":
    sys.exit("error: Forbidden")
else:
    assert "pod/{POD}" in sys.argv, sys.argv
    print("Forwarding from AT -> 9471", flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def no_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


async def test_a_long_answer_comes_whole_out_of_the_pod(tmp_path: Path) -> None:
    async with installed(tmp_path, {"/long": LONG}) as there:
        assert await document("/long", url=None, way=there.way()) == LONG


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
        installed(kept, {}) as there,
    ):
        # The kubeconfig holds the CA's certificate, which kr8s writes into a file.
        way = Way(NAMESPACE, port, str(there.kubeconfig), None)
        await document("/look", url=None, way=way)
    assert seen == [0o700]
    assert os.listdir(tmp_path) == ["kept"]


def listed(*pods: Document) -> bytes:
    return msgspec.json.encode({"kind": "PodList", "items": pods})


def leaving(name: str) -> Document:
    leaves = pod(name)
    leaves["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return leaves


@pytest.mark.parametrize(
    ("pods", "chosen"),
    [
        ((pod("b", ready="False"), pod("c"), pod("d")), "c"),
        ((pod("b", ready="False"), leaving("c")), "b"),
        ((pod("b", phase="Failed"), pod("c", ready="False")), "c"),
    ],
)
def test_a_running_pod_is_asked_rather_a_ready_one(pods: Sequence[Document], chosen: str) -> None:
    assert running_pod(listed(*pods), NAMESPACE) == chosen


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"items": [{"metadata": {"name": 7}}]}'])
def test_a_list_of_pods_that_is_none_is_told(answer: bytes) -> None:
    with pytest.raises(NotReached, match="list of pods cannot be read"):
        running_pod(answer, NAMESPACE)


def test_the_labels_that_are_asked_for_are_those_of_the_manifests() -> None:
    documents = yaml.safe_load_all((ROOT / "manifests" / "operator.yaml").read_text())
    (deployment,) = (one for one in documents if one["kind"] == "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert dict(label.split("=") for label in SELECTOR.split(",")).items() <= labels.items()


async def test_the_role_of_the_security_page_is_enough_and_nothing_of_it_too_much(tmp_path: Path) -> None:
    """Beside what our own way takes, kubectl's takes `get` on pods."""
    page = (ROOT / "docs" / "security.md").read_text()
    (role,) = (yaml.safe_load(block) for block in YAML.findall(page) if "kind: Role" in block)
    assert role["metadata"]["namespace"] == NAMESPACE
    assert role["rules"] == [MAY_LIST | {"verbs": ["get", "list"]}, MAY_FORWARD]
    async with installed(tmp_path, {"/status": LONG}, rules=role["rules"]) as there:
        assert await document("/status", url=None, way=there.way()) == LONG


async def reaching(folder: Path, words: str, *, path: str = "/status", **cluster: Any) -> None:  # noqa: ANN401 - as installed() takes it
    async with asyncio.timeout(15), installed(folder, {"/status": b"{}"}, **cluster) as there:
        with pytest.raises(NotReached) as caught:
            await document(path, url=None, way=there.way())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], f"you lack the permission `list` on pods in namespace {NAMESPACE}: "),
        (
            [MAY_LIST],
            f"you lack the permission `get` (or `create`) on pods/portforward in namespace {NAMESPACE}",
        ),
        ([MAY_FORWARD], f"you lack the permission `list` on pods in namespace {NAMESPACE}: "),
    ],
)
async def test_a_permission_that_is_lacking_is_named(
    tmp_path: Path, rules: Sequence[Document], words: str
) -> None:
    await reaching(tmp_path, words, rules=rules)


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        ([], f"no pod of namespace {NAMESPACE} has the labels"),
        ([pod("a", phase="Pending")], f"no operator runs in namespace {NAMESPACE}: a is Pending"),
    ],
)
async def test_an_operator_that_is_not_there_is_told(
    tmp_path: Path, pods: Sequence[Document], words: str
) -> None:
    await reaching(tmp_path, words, pods=pods)


async def test_a_port_that_nobody_listens_on_is_told(tmp_path: Path) -> None:
    async with installed(tmp_path, {}) as there:
        way = Way(NAMESPACE, 1, str(there.kubeconfig), None)
        with pytest.raises(NotReached, match=r"the pod does not let us in: .* forwarding 1: .*refused"):
            await document("/status", url=None, way=way)


async def test_an_answer_of_another_program_is_told(tmp_path: Path) -> None:
    await reaching(tmp_path, "/other is answered with 404", path="/other")


@pytest.mark.parametrize("status", [400, 500])
async def test_an_api_server_that_cannot_forward_is_told(tmp_path: Path, status: int) -> None:
    await reaching(tmp_path, f"answers {status} to `list` on pods", faults=refusing(status, "kr8s"))


def refusing(status: int, agent: str) -> Faults:
    faults = Faults()
    faults.begin(Fault(what=Refuse(status), requests=Requests(resource="pods", agent=agent)))
    return faults


NO_CREDENTIALS: Final[Sequence[tuple[Callable[[str], str], str | None, str]]] = (
    (lambda _: "", None, "no credentials for a cluster"),
    (lambda _: "][", None, "no credentials for a cluster"),
    (lambda _: "{contexts: 7}", None, "no credentials for a cluster"),
    (lambda text: text, "other", "No such context other"),
    (lambda text: text.replace("token: ", "token: x"), None, "does not accept your credentials"),
    (lambda text: text.replace("https://127.0.0.1:", "https://127.0.0.1:1#"), None, "is not reached"),
)


@pytest.mark.parametrize(("edited", "context", "words"), NO_CREDENTIALS)
async def test_credentials_that_lead_nowhere_are_told(
    tmp_path: Path, edited: Callable[[str], str], context: str | None, words: str
) -> None:
    async with installed(tmp_path, {}) as there:
        there.kubeconfig.write_text(edited(there.kubeconfig.read_text()))
        with pytest.raises(NotReached) as caught:
            await document("/status", url=None, way=there.way(context=context))
    assert words in str(caught.value)


async def test_the_real_kubectl_gets_through_with_words_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kubectl: Path
) -> None:
    monkeypatch.setenv("PATH", str(kubectl.parent))
    monkeypatch.setenv("HOME", str(tmp_path))
    asking = Requests(verbs=frozenset({Verb.GET}), resource="pods", agent="kr8s")
    faults = Faults()
    refused = faults.begin(Fault(what=Refuse(400), requests=asking))
    # It asks for the pod as well.
    rules = [MAY_FORWARD, MAY_LIST | {"verbs": ["get", "list"]}]
    async with installed(tmp_path, {"/status": LONG}, rules=rules, faults=faults) as there:
        assert await document("/status", url=None, way=there.way()) == LONG
    assert refused.met


def stand_in(folder: Path, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a kubectl in the way that forwards to there."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "kubectl").write_text(KUBECTL.replace("AT", at))
    (programs / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))


async def test_kubectl_gets_through_where_a_websocket_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with installed(tmp_path, {"/status": LONG}, rules=[MAY_LIST]) as there:
        stand_in(tmp_path, f"127.0.0.1:{there.port}", monkeypatch)
        assert await document("/status", url=None, way=there.way()) == LONG


async def test_what_kubectl_says_is_told_beside_the_first_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "nowhere", monkeypatch)
    async with installed(tmp_path, {}, rules=[MAY_LIST]) as there:
        with pytest.raises(NotReached) as caught:
            await document("/status", url=None, way=there.way())
    first, second = str(caught.value).splitlines()
    assert first.startswith("you lack the permission")
    assert second == "kubectl: error: Forbidden"


async def test_kubectl_is_not_asked_for_an_operator_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "nowhere", monkeypatch)
    async with installed(tmp_path, {}, pods=()) as there:
        with pytest.raises(NoOperator):
            await document("/status", url=None, way=there.way())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://127.0.0.1:1", "is not of the form"),
        ("127.0.0.1:1", "is not of the form"),
        ("http://127.0.0.1:1", "no answer"),
        ("http://127.0.0.1:{port}", "/nothing is answered with 404"),
    ],
)
async def test_an_address_given_outright_is_asked_and_nothing_else(
    tmp_path: Path, url: str, words: str
) -> None:
    nowhere = Way(NAMESPACE, ADMIN_PORT, str(tmp_path / "none"), None)
    async with installed(tmp_path, {"/status": LONG}, rules=RULES) as there:
        assert await document("/status", url=f"http://127.0.0.1:{there.port}", way=nowhere) == LONG
        with pytest.raises(NotReached) as caught:
            await document("/nothing", url=url.format(port=there.port), way=nowhere)
    assert words in str(caught.value)
