"""The real process, in a network namespace of its own, against the real kernel."""

import asyncio
import json
import resource
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from pathlib import Path
from urllib.error import HTTPError, URLError

import grpc
import pytest
from click.testing import CliRunner
from pyroute2 import IPRoute

import nft_templates
from compilers.nftables.base import TABLE, BaseSettings, base_tables
from compilers.nftables.render import Tables, render
from compilers.nftables.words import TableFamily
from compilers.ruleset.digest import digest_of
from policy_controller.enforcer.interfaces import detect
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.enforcer.main import main
from policy_controller.enforcer.preflight import CAP_NET_ADMIN
from policy_controller.enforcer.tests.operator_double import (
    DEADLINE,
    FIRST_TOKEN,
    OperatorDouble,
    Site,
    serving,
    until,
)
from policy_controller.enforcer.tests.states import NODE, WEB_ISOLATED, WEB_SUCCEEDED, untold
from policy_controller.testing.credentials import Authority
from policy_controller.testing.namespaces import PrivateNamespace
from policy_controller.wire.channel import HostPort
from policy_controller.wire.messages import Ack, FreshToken, Hello, SnapshotMessage, Stands

FD_SETSIZE = 1024
SNAPSHOT = SnapshotMessage(1, Stands(1, 1, 1), WEB_ISOLATED)
PROGRAM = (sys.executable, "-c", "from policy_controller.enforcer.main import main; main()")
LOOKING_OFTEN = (
    sys.executable,
    "-c",
    "from policy_controller.enforcer import late_interfaces, main; late_interfaces.LOOK_SECONDS = 0.1; main.main()",
)
BASE = base_tables(
    nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE), BaseSettings(detect(()))
)


GIVEN = ("--node", NODE, "--operator", "127.0.0.1:9473")
CONTAINED = (
    *("unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"),
    *("setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all", "--no-new-privs"),
)
"""Before a command: what a container of the manifests may do. Root has the capabilities of its bounding set."""


class Host:
    """A node: a network namespace with loopback, where an operator may listen too, and what is found in it."""

    def __init__(self, network: PrivateNamespace, folder: Path) -> None:
        self.site = Site(folder, HostPort("127.0.0.1", 9473))
        self._network = network
        self._nft = LibNft()
        network.run(self._loopback_up)

    def tables(self) -> Tables | None:
        inet, bridge = (
            self._network.run(partial(self._nft.list_table, family, TABLE)) for family in TableFamily
        )
        return Tables(inet, bridge) if inet is not None and bridge is not None else None

    def operator(self) -> AbstractAsyncContextManager[OperatorDouble]:
        """An operator for the length of the block."""
        return serving(self.site, where=self._network.run)

    def ready(self) -> tuple[int, str]:
        """What /readyz answers on the default address."""
        return self._network.run(self._ask)

    async def told(self, words: str) -> None:
        """Return when /readyz says so."""
        async with asyncio.timeout(DEADLINE):
            while words not in (await asyncio.to_thread(self.ready))[1]:
                pass

    def start(
        self, *flags: str, before: tuple[str, ...] = (), program: tuple[str, ...] = PROGRAM
    ) -> "subprocess.Popen[str]":
        command = (*before, *program, "--node", NODE, *self.site.flags(), *flags)
        return self._network.run(
            lambda: subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: S603 - the program under test
        )

    @contextmanager
    def running(
        self, *flags: str, before: tuple[str, ...] = (), program: tuple[str, ...] = PROGRAM
    ) -> Iterator["subprocess.Popen[str]"]:
        process = self.start(*flags, before=before, program=program)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def add_pod_link(self) -> None:
        """A veth that stands alone, as on a routed pod network."""
        self._network.run(self._add_veth)

    @staticmethod
    def _add_veth() -> None:
        with IPRoute() as route:
            route.link("add", ifname="veth1", kind="veth", peer={"ifname": "pod0"})

    @staticmethod
    def _loopback_up() -> None:
        with IPRoute() as route:
            route.link("set", index=1, state="up")

    @staticmethod
    def _ask() -> tuple[int, str]:
        """Status 0: nobody listens."""
        try:
            with urllib.request.urlopen("http://127.0.0.1:9470/readyz", timeout=DEADLINE) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except URLError:
            return 0, ""


def held_by(process: "subprocess.Popen[str]") -> dict[str, str]:
    """What the kernel says of a process (proc_pid_status(5))."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {name: value for name, _, value in (line.partition(":\t") for line in lines)}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with PrivateNamespace() as network:
        yield Host(network, tmp_path)


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
            stream, _ = await operator.next_stream()
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
        await until(lambda: host.tables() != Tables(BASE.inet, BASE.bridge))
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
    """Root without its powers but CAP_NET_ADMIN, none to be gained, and nowhere to write."""
    async with host.operator() as operator:
        with host.running(before=CONTAINED) as process:
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
