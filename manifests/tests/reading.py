"""The applied objects as kubectl makes them of this folder: read, never repeated."""

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import yaml

Json = dict[str, Any]

FOLDER: Final = Path(__file__).resolve().parents[1]
NAMESPACE: Final = "policy-controller"


def built(kubectl: Path, folder: Path = FOLDER) -> tuple[Json, ...]:
    """Every object that `kubectl apply -k` would apply."""
    words = [str(kubectl), "kustomize", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603 - the kubectl of the tests
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def chosen(documents: Iterable[Json], kind: str) -> Json:
    """The one object of a kind."""
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def pod_of(workload: Json) -> Json:
    """The pod spec of a workload."""
    spec: Json = workload["spec"]["template"]["spec"]
    return spec


def container_of(workload: Json) -> Json:
    """Its one container."""
    (found,) = pod_of(workload)["containers"]
    return dict(found)
