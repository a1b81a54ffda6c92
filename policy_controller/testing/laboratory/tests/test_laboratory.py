"""Laboratories as their users see them: made, changed and looked at. Packets are the probe's tests."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from policy_controller.testing.laboratory import Laboratory, LaboratoryError, NetworkKind

pytestmark = pytest.mark.packets


@pytest.fixture(params=NetworkKind, ids=lambda kind: kind.value)
def laboratory(request: pytest.FixtureRequest) -> Iterator[Laboratory]:
    with Laboratory(network=request.param) as made:
        yield made


def test_two_nodes_and_nine_pods_take_well_under_a_second_and_a_half() -> None:
    started = time.perf_counter()
    with Laboratory() as laboratory:
        nodes = [laboratory.add_node("node-1"), laboratory.add_node("node-2")]
        for number in range(9):
            laboratory.add_pod(nodes[number % 2], f"pod-{number}")
        took = time.perf_counter() - started

    assert took < 1.5


def test_a_hundred_pods_take_a_few_seconds(laboratory: Laboratory) -> None:
    node = laboratory.add_node("node-1")
    started = time.perf_counter()

    pods = [laboratory.add_pod(node, f"pod-{number}") for number in range(100)]

    assert (
        time.perf_counter() - started < 15
    )  # a second alone; every call waits for the machine's one rtnl lock
    assert len({pod.ipv4 for pod in pods} | {pod.ipv6 for pod in pods}) == 200


def test_ip_netns_exec_opens_a_shell_in_a_pod(laboratory: Laboratory) -> None:
    pod = laboratory.add_pod(laboratory.add_node("node-1"), "shop.web")

    shown = subprocess.run(  # noqa: S603 - a namespace of ours, no shell
        [  # noqa: S607 - root's own PATH
            "ip",
            "netns",
            "exec",
            pod.namespace,
            "sh",
            "-c",
            "ip -brief address show eth0",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    lengths = (32, 128) if laboratory.pod_interfaces == ("cali*",) else (24, 64)
    own = {f"{address}/{length}" for address, length in zip(pod.addresses, lengths, strict=True)}
    assert {*own, f"{str(pod.link_local).partition('%')[0]}/64"} <= set(shown.split())


def test_a_node_forwards(laboratory: Laboratory) -> None:
    node = laboratory.add_node("node-1")
    settings = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")

    def read() -> list[str]:
        return [Path("/proc/sys/net", name).read_text().strip() for name in settings]

    assert laboratory.run_in(node.namespace, read) == ["1", "1"]


@pytest.mark.parametrize("kind", [NetworkKind.BRIDGE, NetworkKind.VXLAN], ids=lambda kind: kind.value)
def test_a_node_with_a_bridge_hands_bridged_packets_to_its_ip_hooks(kind: NetworkKind) -> None:
    settings = ("bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables")

    def read() -> list[str]:
        return [Path("/proc/sys/net", name).read_text().strip() for name in settings]

    with Laboratory(network=kind) as laboratory:
        assert laboratory.run_in(laboratory.add_node("node-1").namespace, read) == ["1", "1"]


def test_work_runs_in_the_namespace_and_its_exception_comes_back(laboratory: Laboratory) -> None:
    node = laboratory.add_node("node-1")

    def interfaces() -> set[str]:
        return {name for _, name in socket.if_nameindex()}

    here = interfaces()

    assert {"eth0", "lo"} <= laboratory.run_in(node.namespace, interfaces)
    assert interfaces() == here
    with pytest.raises(ZeroDivisionError):
        laboratory.run_in(node.namespace, lambda: 1 // 0)


def test_a_spawned_process_lives_in_the_namespace_and_ends_with_the_laboratory() -> None:
    with Laboratory() as laboratory:
        node = laboratory.add_node("node-1")
        process = laboratory.spawn(
            node.namespace,
            ["sh", "-c", 'readlink /proc/self/ns/net; echo "$GREETING"; exec sleep 600'],
            stdout=subprocess.PIPE,
            env={"GREETING": "hello", "PATH": os.environ["PATH"]},
        )
        assert process.stdout is not None
        namespace = process.stdout.readline().decode().strip()
        greeting = process.stdout.readline().decode().strip()
        process.stdout.close()
        inode = os.stat(f"/run/netns/{node.namespace}").st_ino

    assert (namespace, greeting) == (f"net:[{inode}]", "hello")
    assert process.poll() is not None


def test_a_pod_can_go_and_its_name_and_address_can_come_back_at_once(laboratory: Laboratory) -> None:
    node = laboratory.add_node("node-1")
    first = laboratory.add_pod(node, "web")
    laboratory.add_pod(node, "web-2")

    laboratory.remove_pod(first)
    second = laboratory.add_pod(node, "web", first.addresses)

    assert second.addresses == first.addresses
    assert second.host_interface != first.host_interface
    assert set(laboratory.pods) == {"web", "web-2"}
    assert os.path.exists(f"/run/netns/{laboratory.pods['web-2'].namespace}")


def test_what_cannot_be_is_refused_in_one_sentence_and_leaves_nothing(laboratory: Laboratory) -> None:
    node = laboratory.add_node("node-1")
    pod = laboratory.add_pod(node, "web")
    before = sorted(os.listdir("/run/netns"))

    for addresses, name, reason in (
        ((), "web", "the name web is taken"),
        ((), "node-1", "the name node-1 is taken"),
        ((pod.ipv4,), "other", f"{pod.ipv4} is taken"),
        ((node.gateways[0],), "other", "10.244.1.1 is taken"),
        ((ip_address("10.244.2.9"),), "other", "10.244.2.9 is in no pod network of node node-1"),
    ):
        with pytest.raises(LaboratoryError, match=reason):
            laboratory.add_pod(node, name, addresses)

    assert [name for name in sorted(os.listdir("/run/netns")) if name.startswith(laboratory.prefix)] == [
        name for name in before if name.startswith(laboratory.prefix)
    ]


def test_a_closed_laboratory_says_so() -> None:
    with Laboratory() as laboratory:
        pass
    laboratory.close()

    with pytest.raises(LaboratoryError, match="is closed"):
        laboratory.add_node("node-1")
