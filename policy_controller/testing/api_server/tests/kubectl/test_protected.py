"""kubectl against a server with TLS that authorises, as its developer, as a service account, and where it should fail."""

import dataclasses
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.features import Features, Permission, Transport
from policy_controller.testing.api_server.tests.kubectl.conftest import COUNTED, Cluster, Record
from policy_controller.testing.api_server.tests.samples import RBAC, sample
from policy_controller.testing.client_tools import CommandLine

PROTECTED = Features(transport=Transport.TLS, permission=Permission.AUTHORIZED)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer.running(features=PROTECTED) as running:
        for kind in ("ClusterRole", "ClusterRoleBinding"):
            running.create(sample(f"{RBAC}/v1", kind))
        for kind in ("Pod", "ServiceAccount"):
            running.create(sample("v1", kind))
        yield running


def known_by(cluster: Cluster, kubectl: Path, kubeconfig: str, name: str) -> Cluster:
    """kubectl with another kubeconfig, which has a folder of its own."""
    folder = cluster.folder / name
    folder.mkdir()
    path = folder / "kubeconfig"
    path.write_text(kubeconfig)
    return dataclasses.replace(cluster, client=CommandLine(kubectl, path, folder, os.defpath), folder=folder)


async def test_developer_does_everything(cluster: Cluster, record_property: Record) -> None:
    made = await cluster.applies(sample("v1", "ConfigMap"), sample("v1", "Node"))
    assert made == ["created", "created"]
    assert (await cluster.says("get", "pods", "-o", "name")).split() == ["pod/web"]
    assert (
        await cluster.says("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    ) == "development"
    token = (await cluster.says("create", "token", "web", "--duration", "10m")).strip()
    assert len(token.split(".")) == 3
    record_property(COUNTED, 4)


async def test_account_does_what_its_role_says(
    cluster: Cluster, kubectl: Path, record_property: Record
) -> None:
    token = (await cluster.says("create", "token", "web")).strip()
    account = known_by(cluster, kubectl, cluster.server.kubeconfig(token), "account")
    assert (await account.says("get", "pods", "-A", "-o", "name")).split() == ["pod/web"]
    refusal = await account.complains("delete", "pod", "web")
    assert refusal.strip() == (
        'Error from server (Forbidden): pods "web" is forbidden: User "system:serviceaccount:default:web" cannot '
        'delete resource "pods" in API group "" in the namespace "default"'
    )
    assert (await account.run("auth", "can-i", "delete", "pods")).out.strip() == "no"
    assert "cannot impersonate" in await account.complains("get", "pods", "--as", "ann")
    as_account = ("get", "nodes", "--as", "system:serviceaccount:default:web")
    assert "cannot list resource" in await cluster.complains(*as_account)
    record_property(COUNTED, 6)


async def test_token_that_has_expired_is_unauthorized(cluster: Cluster, kubectl: Path) -> None:
    kubeconfig = cluster.server.kubeconfig(cluster.server.token("web", seconds=-1))
    account = known_by(cluster, kubectl, kubeconfig, "expired")
    assert "You must be logged in to the server" in await account.complains("get", "pods")


async def test_server_that_is_not_trusted_is_not_spoken_to(cluster: Cluster, kubectl: Path) -> None:
    config = yaml.safe_load(cluster.server.kubeconfig())
    async with ApiServer.running(features=PROTECTED) as other:
        config["clusters"][0]["cluster"]["certificate-authority-data"] = yaml.safe_load(other.kubeconfig())[
            "clusters"
        ][0]["cluster"]["certificate-authority-data"]
    mistaken = known_by(cluster, kubectl, yaml.safe_dump(config), "mistaken")
    assert "certificate signed by unknown authority" in await mistaken.complains("get", "pods")


async def test_certificate_is_good_for_the_names_it_was_made_for(kubectl: Path, tmp_path: Path) -> None:
    named = dataclasses.replace(PROTECTED, names=("api.example", "192.0.2.1", "2001:db8::1"))
    async with ApiServer.running(features=named) as server:
        config = yaml.safe_load(server.kubeconfig())
        path = tmp_path / "kubeconfig"
        client = CommandLine(kubectl, path, tmp_path, os.defpath)
        trusted = ("api.example", "192.0.2.1", "2001:db8::1", "localhost", "kubernetes.default.svc")
        for name in (*trusted, "other.example"):
            config["clusters"][0]["cluster"]["tls-server-name"] = name
            path.write_text(yaml.safe_dump(config))
            ended = await client.run("get", "pods")
            assert (ended.code == 0) is (name in trusted), ended.err
