"""What the pages on installing tell one to write and to run fits the manifests: the real kubectl builds every overlay."""

import re
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import CliRunner

from policy_controller.controller import settings as of_operator
from policy_controller.enforcer import saving
from policy_controller.enforcer import settings as of_enforcer
from policy_controller.enforcer.main import main as enforcer

ROOT: Final = Path(__file__).parents[3]
PAGES: Final = tuple(ROOT / path for path in ("docs/install.md", "docs/security.md", "manifests/README.md"))
FENCE: Final = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED: Final = re.compile(r"^# (?P<name>[\w-]+\.yaml)\n")
KUSTOMIZATION: Final = "kustomization.yaml"
OURS: Final = ("deployment", "daemonset", "configmap", "secret")
MADE: Final = {("ConfigMap", "policy-controller-ca"), ("Secret", "policy-controller-ca")}
"""What the operator makes itself."""

VARIABLES: Final = {
    variable
    for variables in (
        *map(of_operator.TABLE.variables, of_operator.TABLE.rows()),
        *map(of_enforcer.TABLE.variables, of_enforcer.TABLE.rows()),
    )
    for variable in variables
}

Document = dict[str, Any]


def files(page: Path) -> Iterator[tuple[str, str]]:
    """Name and text of every file that a page shows."""
    for block in FENCE.finditer(page.read_text()):
        if block["language"] == "yaml" and (named := NAMED.match(block["text"])):
            yield named["name"], block["text"]


def overlays() -> Iterator[tuple[str, dict[str, str]]]:
    """Each kustomization that is shown, with the files that are shown between it and the next."""
    for page in PAGES:
        shown: dict[str, str] | None = None
        for number, (name, text) in enumerate(files(page)):
            if name == KUSTOMIZATION:
                shown = {}
                yield f"{page.relative_to(ROOT)} {number}", shown
            if shown is not None:
                shown[name] = text


OVERLAYS: Final = dict(overlays())


def built(kubectl: Path, folder: Path) -> list[Document]:
    done = subprocess.run(  # noqa: S603 - the kubectl of the tests
        [kubectl, "kustomize", folder], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def kinds(documents: list[Document]) -> Counter[tuple[str, str]]:
    return Counter((document["kind"], document["metadata"]["name"]) for document in documents)


def containers(documents: list[Document]) -> Iterator[Document]:
    for document in documents:
        if document["kind"] in {"Deployment", "DaemonSet"}:
            yield from document["spec"]["template"]["spec"]["containers"]


@pytest.mark.parametrize("shown", OVERLAYS.values(), ids=list(OVERLAYS))
def test_every_overlay_that_is_shown_builds_and_sets_what_there_is(
    kubectl: Path, tmp_path: Path, shown: dict[str, str]
) -> None:
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    ours = tmp_path / "ours"
    ours.mkdir()
    for name, text in shown.items():
        (ours / name).write_text(text)

    documents, base = built(kubectl, ours), built(kubectl, tmp_path / "manifests")

    extra = [yaml.safe_load(text) for name, text in shown.items() if name != KUSTOMIZATION]
    assert kinds(documents) == kinds(base) + kinds(extra)
    before = {container["name"]: container for container in containers(base)}
    images = "images" in yaml.safe_load(shown[KUSTOMIZATION])
    for container in containers(documents):
        was = before[container["name"]]
        assert (container["image"] != was["image"]) is images
        assert container["image"].endswith(was["image"])
        added = {one["name"] for one in container["env"]} - {one["name"] for one in was["env"]}
        assert added <= VARIABLES


def commands() -> Iterator[list[str]]:
    for page in PAGES:
        for block in FENCE.finditer(page.read_text()):
            for line in block["text"].splitlines():
                if not block["language"] and line.startswith("kubectl "):
                    yield shlex.split(line)


def test_every_object_that_a_command_names_is_there(kubectl: Path) -> None:
    there = set(kinds(built(kubectl, ROOT / "manifests"))) | MADE
    known = {(kind.lower(), name) for kind, name in there}
    named = [
        tuple(word.split("/"))
        for words in commands()
        if "policy-controller" in words
        for word in words
        if word.split("/")[0] in OURS and "/" in word
    ]
    assert named
    assert [one for one in named if one not in known] == []


def test_the_unit_of_the_host_is_one_that_the_enforcer_understands_and_comes_before_the_kubelet() -> None:
    text = (ROOT / "docs" / "install.md").read_text()
    (unit,) = (block["text"] for block in FENCE.finditer(text) if block["language"] == "ini")
    said = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    program, *flags = shlex.split(said["ExecStart"].replace("%H", "node-1"))

    assert Path(program).name == of_enforcer.TABLE.program
    result = CliRunner().invoke(enforcer, [*flags, "--print-config"])

    assert result.exit_code == 0, result.output
    assert "--restore" in flags
    kept = yaml.safe_load(result.stdout)["stateDirectory"]
    assert said["ConditionPathExists"] == f"{kept}/{saving.NAME}"
    assert said["Before"] == "kubelet.service"
