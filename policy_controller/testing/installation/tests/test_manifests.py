"""The objects that an installation in the laboratory creates are those that kubectl would apply."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from policy_controller.testing.installation.manifests import FOLDER, manifests
from policy_controller.testing.installation.settings import NAME, with_settings

Json = dict[str, Any]


def by_name(documents: object) -> dict[tuple[str, str], Json]:
    assert isinstance(documents, tuple)
    return {(document["kind"], document["metadata"]["name"]): document for document in documents}


def test_folder_is_read_as_kubectl_reads_it(kubectl: Path) -> None:
    words = [str(kubectl), "kustomize", str(FOLDER)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603 - the kubectl of the tests
    assert by_name(manifests()) == by_name(tuple(yaml.safe_load_all(done.stdout)))


def test_settings_of_nodes_add_to_the_enforcers_pod_and_change_nothing_else() -> None:
    plain, told = by_name(manifests()), by_name(tuple(with_settings(manifests())))
    (changed,) = (key for key in plain if plain[key] != told[key])
    assert changed == ("DaemonSet", "policy-enforcer")
    before, after = (one[changed]["spec"]["template"]["spec"] for one in (plain, told))
    assert after["volumes"][:-1] == before["volumes"]
    assert after["volumes"][-1]["configMap"]["name"] == NAME
    (container,), (other,) = before["containers"], after["containers"]
    assert other.pop("args")[-1].endswith("/$(NODE_NAME).yaml")
    assert other.pop("volumeMounts")[:-1] == container.pop("volumeMounts")
    assert other == container
