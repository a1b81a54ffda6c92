"""Pods run as their specs say: in processes, with real namespaces, files, tokens and probes."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from policy_controller.testing.api_server import ApiError, ApiServer
from policy_controller.testing.api_server.features import Features, Permission, Transport
from policy_controller.testing.kubelet import Image, Kubelet, PodLife
from policy_controller.testing.kubelet.relay import CLUSTER_IP
from policy_controller.testing.laboratory import Laboratory

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

Json = dict[str, Any]
SECONDS = 20.0
MOUNTED = "/var/run/held"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

PROGRAM = """
import http.server, json, os, pathlib, ssl, sys, urllib.error, urllib.request

class Told(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if pathlib.Path("/dev/shm/sick").exists() else 200)
        self.end_headers()
    def log_message(self, *words):
        pass

def asks():
    folder = "ACCOUNT"
    address = "https://%s:%s/api/v1/pods" % (os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"])
    token = {"Authorization": "Bearer " + open(folder + "/token").read()}
    context = ssl.create_default_context(cafile=folder + "/ca.crt")
    try:
        return urllib.request.urlopen(urllib.request.Request(address, headers=token), context=context).status
    except urllib.error.HTTPError as refusal:
        return json.load(refusal)["message"]

def writes(path):
    try:
        open(path, "w").close()
        return True
    except OSError:
        return False

print(json.dumps({
    "uid": os.getuid(), "environment": dict(os.environ), "words": sys.argv[1:], "pid": os.getpid(),
    "asks": asks(), "writes": {path: writes(path) for path in ("/x", "/proc/sys/net/ipv4/ip_forward", "SCRATCH/x")},
}), flush=True)
http.server.HTTPServer(("", 8080), Told).serve_forever()
""".replace("ACCOUNT", ACCOUNT).replace("SCRATCH", "/scratch")


def deployment(name: str = "web", image: str = "test/python:1", **pod: object) -> Json:
    container = {
        "name": "app",
        "image": image,
        "command": [sys.executable, "-c", PROGRAM],
        "args": ["$(NODE)", "$(WEB_SERVICE_PORT)"],
        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
        "securityContext": {
            "runAsUser": 65532,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "held", "mountPath": MOUNTED, "readOnly": True},
            {"name": "scratch", "mountPath": "/scratch"},
        ],
    }
    sources = [
        {"configMap": {"name": "settings", "optional": True}},
        {"serviceAccountToken": {"path": "token", "audience": "somebody"}},
    ]
    spec = {
        "serviceAccountName": "web",
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "held", "projected": {"sources": sources}}, {"name": "scratch", "emptyDir": {}}],
        **pod,
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


@dataclass(frozen=True, slots=True)
class Place:
    """A server with one running Deployment, and who runs it."""

    server: ApiServer
    kubelet: Kubelet
    laboratory: Laboratory

    async def until(self, done: Callable[[], bool], what: str) -> None:
        await self.kubelet.until(done, SECONDS, lambda: what)

    def life(self, name: str = "web") -> PodLife:
        (life,) = self.kubelet.pods_of(name)
        return life

    def told(self, name: str = "web") -> Json:
        """What its program printed when it last started."""
        return dict(json.loads(self.life(name).log_of("app").read_text().splitlines()[-1]))

    def inside(self, path: str, name: str = "web") -> Path:
        """A path as the container sees it."""
        return Path(f"/proc/{self.life(name).program('app')}/root{path}")

    def state(self, name: str = "web") -> Json:
        (found,) = self.life(name).tree["status"]["containerStatuses"]
        return dict(found)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    directory = tmp_path_factory.mktemp("kubelet")
    small = small_root(tmp_path_factory.mktemp("image"))
    images = {"test/python": Image((sys.executable,)), "test/small": Image(("/bin/sh",), root=small)}
    features = Features(Transport.TLS, (CLUSTER_IP,), Permission.AUTHORIZED)
    with Laboratory() as laboratory:
        async with ApiServer.running(features=features) as server:
            kubeconfig = directory / "kubeconfig"
            kubeconfig.write_text(server.kubeconfig())
            async with Kubelet(laboratory, kubeconfig, directory, images) as kubelet:
                await asyncio.to_thread(laboratory.add_node, "node-a")
                await kubelet.add_node("node-a")
                server.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}})
                ports = [{"port": 80, "targetPort": "http"}]
                server.create(
                    {
                        "apiVersion": "v1",
                        "kind": "Service",
                        "metadata": {"name": "web"},
                        "spec": {"selector": {"app": "web"}, "ports": ports},
                    }
                )
                server.create(deployment())
                await kubelet.settled(SECONDS)
                yield Place(server, kubelet, laboratory)


def small_root(folder: Path) -> Path:
    """An image with a shell, what it is linked to, and nothing else."""
    shell = Path("/bin/sh").resolve()
    linked = subprocess.run(["ldd", shell], capture_output=True, text=True, check=True).stdout.split()  # noqa: S603, S607 - of the system
    for path in (shell, *(Path(word) for word in linked if word.startswith("/"))):
        there = folder / str(path).lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
    (folder / "bin").mkdir(exist_ok=True)
    if not (folder / "bin" / "sh").exists():
        shutil.copy(shell, folder / "bin" / "sh")
    return folder


async def test_program_runs_as_its_spec_says(place: Place) -> None:
    told = place.told()
    assert (told["uid"], told["pid"]) == (65532, 1)
    assert told["words"] == ["node-a", "80"]
    assert told["writes"] == {"/x": False, "/proc/sys/net/ipv4/ip_forward": False, "/scratch/x": True}
    environment = told["environment"]
    service = place.server.get("Service", "web")["spec"]["clusterIP"]
    assert environment["WEB_SERVICE_HOST"] == service
    assert environment["HOSTNAME"] == place.life().name


async def test_pod_reaches_the_api_server_as_its_service_account(place: Place) -> None:
    assert 'User "system:serviceaccount:default:web" cannot list resource "pods"' in place.told()["asks"]


async def test_status_tells_addresses_phase_and_readiness(place: Place) -> None:
    status = place.server.get("Pod", place.life().name)["status"]
    built = next(iter(place.laboratory.pods.values()))
    assert status["phase"] == "Running"
    assert [one["ip"] for one in status["podIPs"]] == [str(address) for address in built.addresses]
    assert {one["type"]: one["status"] for one in status["conditions"]}["Ready"] == "True"
    assert place.server.get("Deployment", "web")["status"]["readyReplicas"] == 1


async def test_config_map_that_comes_late_and_changes_reaches_the_running_program(place: Place) -> None:
    assert not place.inside(f"{MOUNTED}/word").exists()
    program = place.life().program("app")
    for word in ("first", "second"):
        document = {"metadata": {"name": "settings", "namespace": "default"}, "data": {"word": word}}
        place.server.apply({"apiVersion": "v1", "kind": "ConfigMap", **document})
        await place.until(
            lambda word=word: (
                place.inside(f"{MOUNTED}/word").exists()  # type: ignore[misc]  # bound early
                and place.inside(f"{MOUNTED}/word").read_text() == word
            ),
            f"the file to hold {word}",
        )
    assert place.life().program("app") == program


async def test_tokens_are_renewed_under_the_running_program_and_are_the_pods_own(place: Place) -> None:
    paths = [f"{MOUNTED}/token", f"{ACCOUNT}/token"]
    before = [place.inside(path).read_text() for path in paths]
    place.kubelet.renew_tokens()
    await place.until(
        lambda: all(place.inside(path).read_text() != old for path, old in zip(paths, before, strict=True)),
        "other tokens",
    )
    mode = place.inside(paths[0]).stat()
    assert (mode.st_mode & 0o777, mode.st_uid) == (0o600, 65532)


async def test_service_leads_to_the_pod_only_while_it_is_ready(place: Place) -> None:
    def endpoints() -> int:
        return sum(len(port.endpoints) for port in place.kubelet.service_ports() if port.name == "web")

    assert endpoints() == 1
    sick = place.inside("/dev/shm/sick")  # noqa: S108 - in the container
    sick.touch()
    await place.until(lambda: endpoints() == 0, "the pod to be not ready")
    sick.unlink()
    await place.until(lambda: endpoints() == 1, "the pod to be ready")
    assert place.state()["restartCount"] == 0


async def test_program_that_ends_is_started_again_and_counted(place: Place) -> None:
    life, before = place.life(), place.life().program("app")
    life.send_signal("app", signal.SIGKILL)
    await place.until(lambda: life.program("app") not in {before, None}, "another process")
    await place.until(
        lambda: place.state()["restartCount"] == 1 and place.state()["ready"], "the pod to be ready"
    )
    assert place.state()["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGKILL


async def test_program_that_does_not_hear_a_signal_is_killed_after_the_grace(place: Place) -> None:
    life, before = place.life(), place.life().program("app")
    async with asyncio.timeout(SECONDS):
        # It has no handler, and to the first process of a container the kernel gives no signal without one.
        await life.halt(signal.SIGTERM)
    assert life.program("app") is None
    life.resume()
    await place.until(lambda: life.program("app") not in {before, None}, "another process")
    await place.until(lambda: place.state()["ready"], "the pod to be ready")


async def test_liveness_that_fails_ends_the_program(place: Place) -> None:
    probed = deployment("sickly")
    (container,) = probed["spec"]["template"]["spec"]["containers"]
    container["livenessProbe"] = {
        "httpGet": {"port": 8080},
        "periodSeconds": 1,
        "failureThreshold": 1,
        "initialDelaySeconds": 1,
    }
    place.server.create(probed)
    await place.kubelet.settled(SECONDS)
    place.inside("/dev/shm/sick", "sickly").touch()  # noqa: S108 - in the container
    await place.until(lambda: place.state("sickly")["restartCount"] == 1, "a restart")
    place.server.delete("Deployment", "sickly")
    await place.until(lambda: not place.kubelet.pods_of("sickly"), "the pod to end")


async def test_image_with_a_root_of_its_own_sees_nothing_of_the_machine(place: Place) -> None:
    document = deployment("small", "test/small:1")
    (container,) = document["spec"]["template"]["spec"]["containers"]
    for name in ("readinessProbe", "command"):
        del container[name]
    container["args"] = [
        "-c",
        "echo /*; echo x > /x || echo refused; read word < /var/run/held/token; echo ${#word}; while :; do read x < /dev/zero; done",
    ]
    place.server.create(document)
    await place.kubelet.settled(SECONDS)
    log = place.life("small").log_of("app")
    await place.until(lambda: len(log.read_text().splitlines()) >= 4, "four lines")
    names, *rest = log.read_text().splitlines()
    assert not {"/etc", "/root", "/home", "/work"} & set(names.split())
    assert {"/bin", "/proc", "/sys", "/dev", "/var", "/scratch"} <= set(names.split())
    assert "refused" in rest
    assert int(rest[-1]) > 100
    place.server.delete("Deployment", "small")
    await place.until(lambda: not place.kubelet.pods_of("small"), "the pod to end")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"hostPID": True}, "hostPID"),
        ({"securityContext": {"runAsNonRoot": True, "runAsUser": 0}}, "will run as root"),
        (
            {
                "volumes": [
                    {"name": "held", "secret": {"secretName": "none"}},
                    {"name": "scratch", "emptyDir": {}},
                ]
            },
            "none",
        ),
    ],
    ids=["what is not played", "root where nobody may be", "a Secret that is not there"],
)
async def test_pod_that_cannot_start_says_why(place: Place, change: Json, says: str) -> None:
    document = deployment("waiting", **change)
    (container,) = document["spec"]["template"]["spec"]["containers"]
    del container["securityContext"]
    place.server.create(document)

    def reason() -> str:
        lives = place.kubelet.pods_of("waiting")
        statuses = lives[0].tree["status"].get("containerStatuses", []) if lives else []
        return str(statuses[0]["state"].get("waiting", {}).get("message", "")) if statuses else ""

    await place.until(lambda: says in reason(), f"the pod to say {says}")
    assert place.life("waiting").program("app") is None
    place.server.delete("Deployment", "waiting")
    await place.until(lambda: not place.kubelet.pods_of("waiting"), "the pod to end")


async def test_deleted_deployment_takes_pods_processes_and_addresses_along(place: Place) -> None:
    life = place.life()
    program, name = life.program("app"), life.name
    place.server.delete("Deployment", "web")

    def gone() -> bool:
        try:
            place.server.get("Pod", name)
        except ApiError as refusal:
            return refusal.code == 404
        return False

    # Without grace the object does not wait for its kubelet.
    await place.until(lambda: gone() and not place.laboratory.pods, "the pod and its address to go")
    assert program is not None
    with pytest.raises(ProcessLookupError):
        os.kill(program, 0)
