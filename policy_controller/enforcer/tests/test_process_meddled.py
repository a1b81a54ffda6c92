"""The real process while somebody else changes its tables, or what it needs of the node."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from compilers.nftables.base import TABLE
from compilers.nftables.render import render
from compilers.ruleset.digest import digest_of
from policy_controller.enforcer.surroundings import BRIDGE_CALLS, BRIDGE_SETTINGS
from policy_controller.enforcer.tests.host import BASE, Host
from policy_controller.enforcer.tests.operator_double import DEADLINE, until
from policy_controller.enforcer.tests.states import WEB_ISOLATED, WEB_SUCCEEDED
from policy_controller.enforcer.tests.test_process import SNAPSHOT
from policy_controller.testing.namespaces import PrivateNamespace
from policy_controller.wire.messages import Ack, SnapshotMessage, Stands, Tampered

MOST_SECONDS = 1.0
FIGHT_SECONDS = 4.0
MOST_SHARE = 0.5


class Node(Host):
    """A node on which somebody else acts too."""

    def __init__(self, network: PrivateNamespace, folder: Path) -> None:
        super().__init__(network, folder)
        self._there = network

    def add_pod_bridge(self) -> None:
        """The bridge of a pod network."""
        self._there.run(_add_bridge)

    def switch_bridge_calls(self, value: str) -> None:
        """Whether bridges hand IPv4 and IPv6 packets to the IP hooks."""
        for name in BRIDGE_CALLS:
            self._there.run(partial((BRIDGE_SETTINGS / name).write_text, value))

    def meddle(self, text: str) -> int:
        """Somebody's own nft; returns its process's number."""
        with self._there.run(lambda: subprocess.Popen(("nft", text))) as process:  # noqa: S603, S607 - as an administrator calls it
            assert process.wait(DEADLINE) == 0
            return process.pid


def _add_bridge() -> None:
    with IPRoute() as route:
        route.link("add", ifname="cni0", kind="bridge")


def processor_seconds(process: "subprocess.Popen[str]") -> float:
    """What a process has used up (proc_pid_stat(5): utime and stime)."""
    words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Node]:
    with PrivateNamespace() as network:
        yield Node(network, tmp_path)


@pytest.mark.kernel
async def test_a_sysctl_that_is_switched_off_makes_a_node_not_ready_within_a_second_until_it_is_back(
    host: Node,
) -> None:
    host.add_pod_bridge()
    host.switch_bridge_calls("1")
    async with host.operator() as operator:
        with host.running("--pod-interfaces", "cni0") as process:
            stream, _ = await operator.next_stream()
            await stream.say(SNAPSHOT)
            await host.told("ok\n")
            for value, words in (("0", "net.bridge.bridge-nf-call-iptables is off"), ("1", "ok\n")):
                begin = time.monotonic()
                host.switch_bridge_calls(value)
                await host.told(words)
                assert time.monotonic() - begin < MOST_SECONDS
            process.send_signal(signal.SIGTERM)
            _, said = await asyncio.to_thread(process.communicate, None, DEADLINE)
    lines = [(line["level"], line["message"]) for line in map(json.loads, said.splitlines())]
    off = [message for level, message in lines if level == "error"]
    assert [name in sentence for name, sentence in zip(BRIDGE_CALLS, off, strict=True)] == [True, True]
    assert all(("info", f"mended: {sentence}") in lines for sentence in off)


@pytest.mark.kernel
async def test_an_enforcer_in_a_pid_namespace_of_its_own_tells_itself_from_others(host: Node) -> None:
    """As in a container, where no process knows its number outside."""
    async with host.operator() as operator:
        with host.running(before=("unshare", "--pid", "--fork", "--kill-child")) as process:
            stream, _ = await operator.next_stream()
            assert await stream.say(SNAPSHOT) == Ack(1, digest_of(WEB_ISOLATED))
            number = host.meddle("flush ruleset")
            await until(lambda: host.tables() == render(WEB_ISOLATED, BASE))
            report = await stream.hear()
            assert isinstance(report, Tampered)
            assert (report.process, report.number, report.times) == ("nft", number, 1)
            assert await stream.say(SnapshotMessage(2, Stands(2, 2, 2), WEB_SUCCEEDED)) == Ack(
                2, digest_of(WEB_SUCCEEDED)
            )
            assert stream.heard.empty()
            process.send_signal(signal.SIGKILL)


@pytest.mark.kernel
async def test_whoever_fights_is_undone_at_a_bounded_pace_and_the_node_is_not_ready(
    host: Node, record_property: Callable[[str, object], None]
) -> None:
    async with host.operator() as operator:
        with host.running() as process:
            stream, _ = await operator.next_stream()
            await stream.say(SNAPSHOT)
            before, begin = processor_seconds(process), time.monotonic()
            while time.monotonic() - begin < FIGHT_SECONDS:
                await asyncio.to_thread(host.meddle, f"flush chain inet {TABLE} forward")
            assert "changes the tables again and again" in (await asyncio.to_thread(host.ready))[1]
            share = (processor_seconds(process) - before) / (time.monotonic() - begin)
            record_property("percent of a processor that a fight costs the enforcer", round(100 * share))
            await until(lambda: host.tables() == render(WEB_ISOLATED, BASE))
            # The last change is mended like the first.
            assert time.monotonic() - begin < FIGHT_SECONDS + 2
            assert share < MOST_SHARE
