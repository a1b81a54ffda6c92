"""What kubectl does besides its verbs on manifests: commands that make objects, ask questions, and change parts."""

import json
from typing import Any

import pytest
import yaml

from policy_controller.testing.api_server.tests.kubectl.conftest import (
    COUNTED,
    Cluster,
    Record,
    edited,
    eventually,
    found,
)
from policy_controller.testing.api_server.tests.kubectl.kinds import EVENT, NAMED
from policy_controller.testing.api_server.tests.raw import pod
from policy_controller.testing.api_server.tests.samples import sample

# command -> kind of what it makes, a field of it, the field's value. kubectl sends these bodies as protobuf.
MADE: dict[str, tuple[str, str, Any]] = {
    "create namespace made": ("Namespace", "status.phase", "Active"),
    "create configmap made --from-literal=a=b": ("ConfigMap", "data.a", "b"),
    "create secret generic made --from-literal=k=v": ("Secret", "data.k", "dg=="),
    "create serviceaccount made": ("ServiceAccount", "metadata.name", "made"),
    "create deployment made --image=x:1 --replicas=0 --port=80": ("Deployment", "spec.replicas", 0),
    "create service clusterip made --tcp=80:8080": ("Service", "spec.ports.0.targetPort", 8080),
    "create service nodeport made --tcp=80:http": ("Service", "spec.ports.0.nodePort", 30086),
    "create service externalname made --external-name=a.example": (
        "Service",
        "spec.externalName",
        "a.example",
    ),
    "create role made --verb=get --resource=pods/log --resource-name=x": (
        "Role",
        "rules.0.resources",
        ["pods/log"],
    ),
    "create clusterrole made --verb=get --non-resource-url=/x": (
        "ClusterRole",
        "rules.0.nonResourceURLs",
        ["/x"],
    ),
    "create rolebinding made --role=r --user=u": ("RoleBinding", "subjects.0.name", "u"),
    "create clusterrolebinding made --clusterrole=r --serviceaccount=n:a": (
        "ClusterRoleBinding",
        "subjects.0.namespace",
        "n",
    ),
    "create job made --image=x:1 -- sleep 5": (
        "Job",
        "spec.template.spec.containers.0.command",
        ["sleep", "5"],
    ),
    "create cronjob made --image=x:1 --schedule=@daily": ("CronJob", "spec.schedule", "@daily"),
    "create pdb made --selector=a=b --max-unavailable=10%": (
        "PodDisruptionBudget",
        "spec.maxUnavailable",
        "10%",
    ),
    "create priorityclass made --value=-7": ("PriorityClass", "value", -7),
    "create quota made --hard=cpu=500m": ("ResourceQuota", "spec.hard.cpu", "500m"),
    "run made --image=x:1 --env=A=b --port=80": ("Pod", "spec.containers.0.env.0.value", "b"),
}


@pytest.mark.parametrize("command", MADE)
async def test_kubectl_makes_objects_without_a_manifest(
    cluster: Cluster, command: str, record_property: Record
) -> None:
    kind, path, value = MADE[command]
    assert "created" in await cluster.says(*command.split())
    assert found(cluster.server.get(kind, "made"), path) == value
    record_property(COUNTED, 1)


# command on deployment web -> a field, its value afterwards
CHANGED: dict[str, tuple[str, Any]] = {
    "scale deployment web --replicas=3": ("spec.replicas", 3),
    "scale deployment web --current-replicas=1 --replicas=0": ("spec.replicas", 0),
    "set image deployment/web main=example.com/web:9": (
        "spec.template.spec.containers.0.image",
        "example.com/web:9",
    ),
    "set env deployment/web COLOUR-": ("spec.template.spec.containers.0.env", None),
    "set resources deployment/web --limits=cpu=1": (
        "spec.template.spec.containers.0.resources.limits",
        {"cpu": "1"},
    ),
    "set serviceaccount deployment/web robot": ("spec.template.spec.serviceAccountName", "robot"),
    "rollout pause deployment/web": ("spec.paused", True),
}


@pytest.mark.parametrize("command", CHANGED)
async def test_kubectl_changes_a_part_of_a_deployment(cluster: Cluster, command: str) -> None:
    cluster.server.create(sample("apps/v1", "Deployment"))
    await cluster.says(*command.split())
    path, value = CHANGED[command]
    assert found(cluster.server.get("Deployment", "web"), path) == value


async def test_scale_with_another_number_in_mind_is_refused(cluster: Cluster) -> None:
    cluster.server.create(sample("apps/v1", "Deployment"))
    words = ("scale", "deployment", "web", "--current-replicas=7", "--replicas=2")
    assert "Expected replicas to be 7" in await cluster.complains(*words)


async def test_rollout_status_follows_the_status_that_is_written(cluster: Cluster) -> None:
    document = sample("apps/v1", "Deployment")
    cluster.server.create(document)
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1}
    async with cluster.client.following("rollout", "status", "deployment/web") as following:
        await following.until("Waiting for deployment")
        await eventually(lambda: cluster.server.open_watches == 1)
        cluster.server.apply({**document, "status": status})
        await following.until("0 of 1 updated replicas are available")
        cluster.server.apply({**document, "status": {**status, "availableReplicas": 1, "readyReplicas": 1}})
        await following.until("successfully rolled out")
    out = (await cluster.says("get", "deployment", "web", "--no-headers")).split()
    assert out[:4] == ["web", "1/1", "1", "1"]


async def test_wait_for_a_condition_ends_when_it_is_written(cluster: Cluster) -> None:
    cluster.server.create(pod("web"))
    async with cluster.client.following("wait", "pod", "web", "--for=condition=Ready") as following:
        await eventually(lambda: cluster.server.open_watches == 1)
        ready = {"type": "Ready", "status": "True"}
        cluster.server.apply({**pod("web"), "status": {"phase": "Running", "conditions": [ready]}})
        assert "condition met" in await following.line()


async def test_get_w_prints_rows_of_the_table_as_things_change(cluster: Cluster) -> None:
    cluster.server.create(pod("web"))
    async with cluster.client.following("get", "pods", "-w") as following:
        assert (await following.line()).split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
        assert (await following.line()).split()[:3] == ["web", "0/1", "Pending"]
        await eventually(lambda: cluster.server.open_watches == 1)
        cluster.server.apply({**pod("web"), "status": {"phase": "Running"}})
        assert (await following.line()).split()[:3] == ["web", "0/1", "Running"]


async def test_get_pages_through_more_than_a_chunk(cluster: Cluster) -> None:
    for number in range(7):
        cluster.server.create(sample("v1", "ConfigMap", f"c{number}"))
    out = await cluster.says("get", "configmaps", "--chunk-size=3", "--no-headers")
    assert [line.split()[0] for line in out.splitlines()] == [f"c{number}" for number in range(7)]


async def test_get_sorts_by_a_field(cluster: Cluster) -> None:
    for name, phase in (("a", "Running"), ("b", "Failed"), ("c", "Pending")):
        cluster.server.apply({**pod(name), "status": {"phase": phase}})
    out = await cluster.says("get", "pods", "--sort-by=.status.phase", "--no-headers")
    assert [line.split()[0] for line in out.splitlines()] == ["b", "c", "a"]


async def test_get_all_shows_the_kinds_of_the_category(cluster: Cluster) -> None:
    for api_version, kind in (("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap")):
        cluster.server.create(sample(api_version, kind))
    out = await cluster.says("get", "all", "-o", "name")
    assert out.split() == ["service/web", "deployment.apps/web"]


async def test_events_are_shown_and_belong_to_their_object(cluster: Cluster) -> None:
    made = cluster.server.create(pod("web"))
    about = {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": "default"}
    about["uid"] = made["metadata"]["uid"]
    event = EVENT.document("e") | {"involvedObject": about}
    cluster.server.create(event)
    out = (await cluster.says("get", "events")).splitlines()
    assert out[0].split() == EVENT.header.split()
    assert out[1].split()[1:] == ["Normal", "Tested", "pod/web", "by", "a", "test"]
    assert "Tested" in await cluster.says("describe", "pod", "web")
    assert "Pod/web" in await cluster.says("events", "--for", "pod/web")


# command -> words of its answer
SAYS = {
    "api-versions": "rbac.authorization.k8s.io/v1\n",
    "api-resources --namespaced=false": "clusterrolebindings",
    "version": "Server Version: v1.33.0-development",
    "cluster-info": "control plane\x1b[0m is running at",
    "get --raw /readyz": "ok",
    "explain deployment.spec.template.spec.containers.ports": "containerPort\t<integer> -required-",
    "explain netpol.spec.ingress.from.ipBlock": "except\t<[]string>",
    "explain clusterrole --recursive": "nonResourceURLs\t<[]string>",
    "auth whoami": "system:masters",
    "auth can-i --list": "*.*",
}


@pytest.mark.parametrize("command", SAYS)
async def test_kubectl_asks_the_server_about_itself(
    cluster: Cluster, command: str, record_property: Record
) -> None:
    assert SAYS[command].replace("\x1b[0m", "") in (await cluster.says(*command.split()))
    record_property(COUNTED, 1)


async def test_every_short_name_leads_to_its_kind(cluster: Cluster) -> None:
    for case in NAMED:
        for name in case.resource.short_names:
            out = await cluster.says("explain", name)
            assert f"KIND:       {case.kind}\n" in out


async def test_can_i_follows_the_stored_roles(cluster: Cluster) -> None:
    who = "--as=system:serviceaccount:default:web"
    answers = {
        ("list", "pods"): False,
        ("list", "pods", "-n", "kube-system"): False,
        ("create", "tokenreviews.authentication.k8s.io"): True,
        ("create", "selfsubjectaccessreviews.authorization.k8s.io"): True,
        ("get", "/healthz"): True,
    }
    cluster.server.create(sample("rbac.authorization.k8s.io/v1", "Role"))
    cluster.server.create(sample("rbac.authorization.k8s.io/v1", "RoleBinding"))
    delegated = sample("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")
    cluster.server.create(edited(delegated, "roleRef.name", "system:auth-delegator"))
    answers[("list", "pods")] = True
    for words, allowed in answers.items():
        ended = await cluster.run("auth", "can-i", *words, who)
        assert (ended.out.strip(), ended.code) == (("yes", 0) if allowed else ("no", 1)), words
    assert (await cluster.run("auth", "can-i", "delete", "nodes")).out == "yes\n"


async def test_token_of_a_service_account_is_reviewed(cluster: Cluster) -> None:
    cluster.server.create(sample("v1", "ServiceAccount"))
    token = (await cluster.says("create", "token", "web", "--audience=operator")).strip()
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": ["operator"]},
    }
    out = await cluster.says("create", "-f", cluster.file(review), "-o", "json")
    status = json.loads(out)["status"]
    assert (status["authenticated"], status["audiences"]) == (True, ["operator"])
    assert status["user"]["username"] == "system:serviceaccount:default:web"
    cluster.server.delete("ServiceAccount", "web")
    out = await cluster.says("create", "-f", cluster.file(review), "-o", "jsonpath={.status.authenticated}")
    assert out in ("", "false")


async def test_subject_access_review_is_answered(cluster: Cluster) -> None:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "web",
            "groups": ["system:masters"],
            "resourceAttributes": {"verb": "get", "resource": "pods"},
        },
    }
    out = await cluster.says("create", "-f", cluster.file(review), "-o", "jsonpath={.status.allowed}")
    assert out == "true"


NOT_HERE = {
    "logs web": "no pod runs, so there is no log",
    "exec web -- ls": "no pod runs, so there is nothing to execute in",
    "attach web": "no pod runs, so there is nothing to attach to",
    "top pods": "Metrics API not available",
}


@pytest.mark.parametrize("command", NOT_HERE)
async def test_what_needs_a_running_pod_says_that_there_is_none(cluster: Cluster, command: str) -> None:
    cluster.server.create({**pod("web"), "status": {"phase": "Running"}})
    assert NOT_HERE[command] in await cluster.complains(*command.split())


@pytest.mark.parametrize("kind", ["tokenreviews", "subjectaccessreviews"])
@pytest.mark.parametrize("verb", ["get", "describe", "delete --all"])
async def test_reviews_can_only_be_made(cluster: Cluster, kind: str, verb: str) -> None:
    complaint = await cluster.complains(*verb.split(), kind)
    assert "MethodNotAllowed" in complaint or "not allow" in complaint or "not support" in complaint


async def test_drain_marks_a_node_and_evicts_its_pods(cluster: Cluster) -> None:
    cluster.server.create(sample("v1", "Node", "node-a"))
    cluster.server.create(pod("web", node="node-a"))
    words = ("drain", "node-a", "--force", "--grace-period=0", "--timeout=5s")
    assert "node/node-a drained" in await cluster.says(*words)
    assert cluster.server.list("Pod") == []
    assert cluster.server.get("Node", "node-a")["spec"]["unschedulable"] is True


MISSPELT = {**sample("v1", "ConfigMap"), "daat": {}}


async def test_unknown_field_is_refused_or_warned_of(cluster: Cluster) -> None:
    manifest = cluster.file(MISSPELT)
    assert 'strict decoding error: unknown field "daat"' in await cluster.complains("apply", "-f", manifest)
    assert cluster.server.list("ConfigMap") == []
    warned = await cluster.run("apply", "-f", manifest, "--validate=warn")
    assert (warned.code, 'unknown field "daat"' in warned.err) == (0, True)
    quiet = await cluster.run("apply", "-f", manifest, "--validate=ignore")
    assert (quiet.code, "unknown" in quiet.err) == (0, False)
    assert "daat" not in cluster.server.get("ConfigMap", "web")


async def test_dry_run_on_the_server_shows_and_does_not_store(cluster: Cluster) -> None:
    manifest = cluster.file(sample("v1", "Service"))
    for verb in ("create", "apply"):
        words = (verb, "-f", manifest, "--dry-run=server", "-o", "yaml")
        assert yaml.safe_load(await cluster.says(*words))["spec"]["clusterIP"] == "10.96.1.1"
    assert cluster.server.list("Service") == []
    out = await cluster.says("create", "namespace", "later", "--dry-run=server")
    assert "created (server dry run)" in out


async def test_immutable_field_is_refused_by_name(cluster: Cluster) -> None:
    document = sample("apps/v1", "Deployment")
    await cluster.applies(document)
    other = edited(document, "spec.selector.matchLabels", {"app": "other"})
    other = edited(other, "spec.template.metadata.labels", {"app": "other"})
    manifest = cluster.file(other)
    assert "spec.selector" in await cluster.complains("apply", "-f", manifest)
    assert "replaced" in await cluster.says("replace", "--force", "-f", manifest)
