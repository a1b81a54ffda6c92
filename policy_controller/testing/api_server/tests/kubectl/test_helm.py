"""The real helm: releases are secrets, its objects are applied on the server."""

from pathlib import Path

import pytest

from policy_controller.testing.api_server.tests.kubectl.conftest import COUNTED, Cluster, Record

TEMPLATE = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  colour: {{ .Values.colour }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
spec:
  selector: {app: tiny}
  ports: [{port: 80}]
"""


@pytest.fixture
def chart(tmp_path: Path) -> str:
    folder = tmp_path / "chart"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: tiny\nversion: 0.1.0\n")
    (folder / "values.yaml").write_text("colour: green\n")
    (folder / "templates" / "all.yaml").write_text(TEMPLATE)
    return str(folder)


async def test_release_is_installed_upgraded_listed_and_uninstalled(
    releases: Cluster, chart: str, record_property: Record
) -> None:
    await releases.says("install", "one", chart)
    address = releases.server.get("Service", "one")["spec"]["clusterIP"]
    await releases.says("upgrade", "one", chart, "--set", "colour=red")
    assert releases.server.get("ConfigMap", "one")["data"] == {"colour": "red"}
    assert releases.server.get("Service", "one")["spec"]["clusterIP"] == address
    listed = (await releases.says("list", "--no-headers")).split()
    assert (listed[0], listed[2], listed[-1]) == ("one", "2", "tiny-0.1.0")
    assert [secret["type"] for secret in releases.server.list("Secret")] == ["helm.sh/release.v1"] * 2
    await releases.says("rollback", "one", "1")
    assert releases.server.get("ConfigMap", "one")["data"] == {"colour": "green"}
    await releases.says("uninstall", "one")
    assert [releases.server.list(kind) for kind in ("ConfigMap", "Secret", "Service")] == [[], [], []]
    record_property(COUNTED, 5)
