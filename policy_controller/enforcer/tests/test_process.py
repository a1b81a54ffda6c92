"""The real process, in a network namespace of its own, against the real kernel."""

import asyncio
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from compilers.nftables.base import TABLE
from compilers.nftables.render import Tables, render
from compilers.ruleset.digest import digest_of
from policy_controller.enforcer.main import main
from policy_controller.enforcer.preflight import CAP_NET_ADMIN
from policy_controller.enforcer.tests.host import BASE, Host, contained
from policy_controller.enforcer.tests.operator_double import (
    DEADLINE,
    FIRST_TOKEN,
    until,
)
from policy_controller.enforcer.tests.states import NODE, WEB_ISOLATED, WEB_SUCCEEDED, untold
from policy_controller.testing.credentials import Authority
from policy_controller.wire.messages import Ack, FreshToken, Hello, InForce, SnapshotMessage, Stands
from policy_controller.wire.saved import decode_saved

FD_SETSIZE = 1024
SNAPSHOT = SnapshotMessage(1, Stands(1, 1, 1), WEB_ISOLATED)
LOOKING_OFTEN = (
    sys.executable,
    "-c",
    "from policy_controller.enforcer import late_interfaces, main; late_interfaces.LOOK_SECONDS = 0.1; main.main()",
)
GIVEN = ("--node", NODE, "--operator", "127.0.0.1:9473")


def held_by(process: "subprocess.Popen[str]") -> dict[str, str]:
    """What the kernel says of a process (proc_pid_status(5))."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value for name, _, value in (line.partition(":\t") for line in lines)}


@pytest.mark.kernel
async def test_rules_outlive_the_process_and_the_next_one_adopts_them(host: Host) -> None:
    async with host.operator() as operator:
        with host.running() as process:
            stream, hello = await operator.next_stream()
            assert hello == Hello(NODE)
            assert (await asyncio.to_thread(host.ready))[0] == 503
            assert await stream.say(SNAPSHOT) == Ack(1, digest_of(WEB_ISOLATED))
            assert host.tables() == render(WEB_ISOLATED, BASE)
            assert await asyncio.to_thread(host.ready) == (200, "ok\n")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, DEADLINE) == 0
        assert host.tables() == render(WEB_ISOLATED, BASE)

        with host.running():
            stream, hello = await operator.next_stream()
            assert hello == Hello(NODE, InForce(1, digest_of(WEB_ISOLATED), SNAPSHOT.stands))
            # Pods may have been bound while no enforcer listened.
            assert host.tables() == untold(WEB_ISOLATED, BASE)
            assert await stream.say(SNAPSHOT) == Ack(1, digest_of(WEB_ISOLATED))
            assert host.tables() == render(WEB_ISOLATED, BASE)
    # Killed: nothing was said, nothing was cleaned up.
    assert host.tables() == render(WEB_ISOLATED, BASE)


@pytest.mark.kernel
async def test_a_node_that_never_met_its_operator_is_open_and_not_ready(host: Host) -> None:
    with host.running():
        await host.told("every pod is open")
        assert host.tables() == Tables(BASE.inet, BASE.bridge)
        assert (await asyncio.to_thread(host.ready))[0] == 503


@pytest.mark.kernel
async def test_pods_of_a_routed_network_that_come_later_are_met_after_a_new_start(host: Host) -> None:
    with host.running(program=LOOKING_OFTEN) as process:
        await until(lambda: host.tables() == Tables(BASE.inet, BASE.bridge))
        host.add_pod_link()
        assert await asyncio.to_thread(process.wait, DEADLINE) == 1
        assert "pods are met on veth* as well" in process.communicate()[1]
    assert host.tables() == Tables(BASE.inet, BASE.bridge)
    with host.running(program=LOOKING_OFTEN) as process:
        await until(lambda: host.tables() not in (None, Tables(BASE.inet, BASE.bridge)))
        # It is ended for nothing else, and not by detecting the same again.
        await host.told("every pod is open")
        assert process.poll() is None


@pytest.mark.kernel
async def test_interfaces_that_were_given_are_not_detected_again(host: Host) -> None:
    host.add_pod_link()
    with host.running("--pod-interfaces", "cni0", program=LOOKING_OFTEN) as process:
        await host.told("every pod is open")
        assert process.poll() is None


@pytest.mark.kernel
async def test_no_descriptor_can_be_numbered_so_high_that_libnftables_ends_the_process(host: Host) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        with host.running() as process:
            await until(lambda: host.tables() is not None)
            assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[0] <= FD_SETSIZE
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.kernel
async def test_a_dry_run_prints_nft_and_leaves_the_kernel_alone(host: Host) -> None:
    async with host.operator() as operator:
        process = host.start("--dry-run")
        reading = asyncio.create_task(asyncio.to_thread(process.communicate, None, DEADLINE))
        stream, _ = await operator.next_stream()
        saying = asyncio.create_task(stream.say(SNAPSHOT))
        printed, _ = await reading
        saying.cancel()
    assert process.returncode == 0
    assert printed.startswith(f"# base\nadd table inet {TABLE}\n")
    assert "# switch\n" in printed
    assert host.tables() is None


@pytest.mark.kernel
def test_a_dry_run_waits_for_nobody(host: Host) -> None:
    host.site.way.files.ca.unlink()
    process = host.start("--dry-run")
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    assert f"the CA: {host.site.way.files.ca} is not there" in said


@pytest.mark.kernel
def test_without_the_capability_the_process_ends_with_the_remedy(host: Host) -> None:
    process = host.start(before=("setpriv", "--bounding-set=-net_admin"))
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1
    errors = [line["message"] for line in map(json.loads, said.splitlines()) if line["level"] == "error"]
    assert any("CAP_NET_ADMIN is missing: add NET_ADMIN" in message for message in errors)


@pytest.mark.kernel
async def test_a_container_as_the_manifests_have_it_is_enough_to_enforce(host: Host) -> None:
    """Root without its powers but CAP_NET_ADMIN, none to be gained, and one directory to write in."""
    async with host.operator() as operator:
        with host.running(before=contained(host.site.state)) as process:
            stream, _ = await operator.next_stream()
            held = held_by(process)
            assert {held[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {f"{1 << CAP_NET_ADMIN:016x}"}
            assert held["NoNewPrivs"] == "1"
            assert await stream.say(SNAPSHOT) == Ack(1, digest_of(WEB_ISOLATED))
            assert host.tables() == render(WEB_ISOLATED, BASE)
            # Addresses that changed hands have the kernel's connections walked over.
            assert await stream.say(SnapshotMessage(2, Stands(2, 2, 2), WEB_SUCCEEDED)) == Ack(
                2, digest_of(WEB_SUCCEEDED)
            )
            assert await asyncio.to_thread(host.ready) == (200, "ok\n")
            host.site.give_token("second-secret-of-the-node")
            assert await stream.hear() == FreshToken("second-secret-of-the-node")
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, DEADLINE) == 0
    saved = decode_saved((host.site.state / "rule-set").read_bytes(), NODE)
    assert (saved.rule_set, saved.stands) == (WEB_SUCCEEDED, Stands(2, 2, 2))


@pytest.mark.kernel
async def test_what_stands_between_is_logged_and_no_token_ever_is(host: Host) -> None:
    host.site.way.files.ca.unlink()
    async with host.operator() as operator:
        with host.running("--log-level", "debug") as process:
            await host.told("waiting for the CA")
            host.site.give_ca(Authority().pem)
            await host.told("is not one that the CA file vouches for")
            host.site.give_ca(host.site.authority.pem)
            stream, _ = await operator.next_stream()
            stream.refuse(grpc.StatusCode.UNAUTHENTICATED, "the token has expired")
            stream, _ = await operator.next_stream()
            assert isinstance(await stream.say(SNAPSHOT), Ack)
            assert await asyncio.to_thread(host.ready) == (200, "ok\n")
            process.send_signal(signal.SIGTERM)
            _, said = await asyncio.to_thread(process.communicate, None, DEADLINE)
    assert "waiting for the CA" in said
    assert "is not one that the CA file vouches for" in said
    assert "the operator does not accept the token: the token has expired" in said
    assert FIRST_TOKEN not in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), "node: is missing: say it by one of --node, ENFORCER_NODE, NODE_NAME, node in a file"),
        (("--node", "No de"), "--node: is not a DNS subdomain"),
        (("--node", NODE, "--operator", "operator"), "is not of the form HOST:PORT"),
        (("--node", NODE), "operator: is missing: say it by one of --operator, ENFORCER_OPERATOR"),
        (("--node", NODE, "--listen", "nowhere"), "'nowhere' is not of the form HOST:PORT"),
        (("--node", NODE, "--unknown-pods", "maybe"), '--unknown-pods: "maybe" is not one of drop, allow'),
        (("--node", NODE, "--unknown-wait", "-1"), "--unknown-wait: is not a number of at least 0"),
        ((*GIVEN, "--pod-interfaces", 'cni0"; flush'), "cni0"),
    ],
)
def test_wrong_flags_are_named(flags: tuple[str, ...], words: str) -> None:
    result = CliRunner().invoke(main, flags, env={"NODE_NAME": None})
    assert result.exit_code in (1, 2)
    assert words in result.output
