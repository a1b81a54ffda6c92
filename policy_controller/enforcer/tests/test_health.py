"""What kubelet and Prometheus are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from threading import Event

import pytest
from aiohttp import ClientSession

from compilers.nftables.transaction import NftRejectedError, Rejection, Transaction
from policy_controller.bounded import MOST_CONNECTIONS
from policy_controller.enforcer.credentials import CredentialFiles, Way
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import UnknownGates
from policy_controller.enforcer.health import (
    HUNG_SECONDS,
    LOST_SECONDS,
    SLOW_SECONDS,
    Health,
    ListenError,
    serving,
    steps_of,
)
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.obstacles import Obstacle
from policy_controller.enforcer.preflight import Finding, Weight
from policy_controller.enforcer.reach import Reach, Setback
from policy_controller.enforcer.saving import Saving
from policy_controller.enforcer.session import Session
from policy_controller.enforcer.tests.operator_double import DEADLINE, until
from policy_controller.enforcer.tests.states import NODE, WEB_ISOLATED, base
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.fake_connections import FakeConnections
from policy_controller.testing.fake_disk import FakeDisk
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.fake_residence import FakeResidence
from policy_controller.wire.channel import HostPort
from policy_controller.wire.convert import encode_operator
from policy_controller.wire.messages import SnapshotMessage, Stands

BASE = base()
ENDED = frozenset({IPv4Address("10.0.0.9")})


class Stuck(FakeNft):
    """A kernel that answers when it is let go, or refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.go = Event()
        self.go.set()
        self.stuck = Event()
        self.refuses: Rejection | None = None

    def run(self, transaction: Transaction) -> None:
        if not self.go.is_set():
            self.stuck.set()
        self.go.wait()
        if self.refuses is not None:
            raise NftRejectedError(self.refuses, "it is so")
        super().run(transaction)


@dataclass
class Node:
    nft: Stuck
    connections: FakeConnections
    clock: FakeClock
    kernel: Kernel
    enforcement: Enforcement
    reach: Reach
    saving: Saving
    disk: FakeDisk
    task: "asyncio.Task[None]"
    url: str = ""
    missing: list[Finding] = field(default_factory=list)
    meddling: str | None = None
    late: dict[str, float] = field(default_factory=lambda: {"node": 0.0, "tables": 0.0})

    async def ask(self, path: str) -> tuple[int, str]:
        async with ClientSession() as client, client.get(self.url + path) as answer:
            return answer.status, await answer.text()

    async def snapshot(self, generation: int) -> None:
        message = encode_operator(SnapshotMessage(generation, Stands(), WEB_ISOLATED, ENDED))
        await self.enforcement.receive(message)

    async def look(self) -> tuple[Finding, ...]:
        return tuple(self.missing)


@asynccontextmanager
async def node() -> AsyncIterator[Node]:
    nft, connections, clock, metrics = Stuck(), FakeConnections(), FakeClock(), Metrics()
    kernel = Kernel(nft, connections, FakeResidence(), BASE, clock)
    enforcement = Enforcement(kernel, BASE, Session(NODE), UnknownGates(), clock, metrics)
    task = asyncio.create_task(asyncio.Event().wait())
    gates = asyncio.create_task(enforcement.keep_gates())
    disk = FakeDisk()
    saving = Saving(disk, NODE, clock, metrics)
    one = Node(nft, connections, clock, kernel, enforcement, Reach(metrics), saving, disk, gates)
    health = Health(
        enforcement,
        kernel,
        one.reach,
        saving,
        lambda: one.meddling,
        metrics,
        one.look,
        {"enforce": one.task},
        steps_of(enforcement, lambda: one.late["node"], lambda: one.late["tables"]),
    )
    async with serving(health, HostPort("127.0.0.1", 0)) as (host, port):
        one.url = f"http://{host}:{port}"
        try:
            yield one
        finally:
            nft.go.set()
            task.cancel()
            one.task.cancel()
            saving.close()
            kernel.close()


async def test_a_node_is_ready_once_the_last_word_of_the_operator_is_in_force() -> None:
    async with node() as one:
        assert await one.ask("/readyz") == (503, "the tables have not been established yet\n")
        assert await one.ask("/healthz") == (503, "the tables have not been established yet\n")
        await one.enforcement.adopt()
        status, text = await one.ask("/readyz")
        assert (status, "every pod is open" in text) == (503, True)
        one.enforcement.begin_stream()
        await one.snapshot(1)
        assert await one.ask("/readyz") == (200, "ok\n")
        one.enforcement.end_stream()
        status, text = await one.ask("/readyz")
        assert (status, "not the operator's last word" in text) == (503, True)
        # However long it is away, a restart would not bring it back.
        await one.clock.advance(3_600)
        # What was under way while the clock leapt has lasted so long, until it ends.
        while await one.ask("/healthz") != (200, "ok\n"):
            pass


async def test_a_node_that_does_not_get_to_its_operator_says_why() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.reach.wait_for("the CA: /ca.crt is not there")
        status, text = await one.ask("/readyz")
        assert status == 503
        assert "every pod is open until the operator" in text
        assert text.endswith("(waiting for the CA: /ca.crt is not there)\n")
        way = Way(HostPort("10.96.0.7", 9473), CredentialFiles(Path("ca.crt"), Path("token"), "operator.svc"))
        one.reach.fail(
            way, Setback(Obstacle.UNAUTHENTICATED, "the operator does not accept the token: it has expired")
        )
        assert "does not accept the token: it has expired" in (await one.ask("/readyz"))[1]
        assert (
            'policy_enforcer_stream_failures_total{reason="unauthenticated"} 1.0'
            in (await one.ask("/metrics"))[1]
        )
        one.enforcement.begin_stream()
        await one.snapshot(1)
        one.enforcement.end_stream()
        assert "expired" in (await one.ask("/readyz"))[1]
        one.reach.succeed()
        assert "(" not in (await one.ask("/readyz"))[1]
        assert (await one.ask("/healthz"))[0] == 200


async def test_a_precondition_that_goes_away_is_seen_at_the_next_question() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        await one.snapshot(1)
        one.missing.append(Finding(Weight.NOT_READY, "br_netfilter is not loaded: modprobe br_netfilter"))
        assert await one.ask("/readyz") == (503, "br_netfilter is not loaded: modprobe br_netfilter\n")
        one.missing.clear()
        assert await one.ask("/readyz") == (200, "ok\n")


async def test_a_node_whose_tables_others_change_is_not_ready() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        await one.snapshot(1)
        one.meddling = "nft (pid 7) changes the tables again and again"
        assert await one.ask("/readyz") == (503, "nft (pid 7) changes the tables again and again\n")
        assert await one.ask("/healthz") == (200, "ok\n")


async def test_a_kernel_that_refuses_makes_a_node_not_ready_with_its_words() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        one.nft.refuses = Rejection.INVALID
        applying = asyncio.create_task(one.snapshot(1))
        while not applying.done():
            await asyncio.sleep(0.001)
            await one.clock.advance(0.05)
        assert await one.ask("/readyz") == (503, "generation 1 is not in force: prepare: it is so\n")
        assert (await one.ask("/healthz"))[0] == 200


async def test_a_kernel_that_does_not_hold_what_it_should_makes_a_node_not_ready_until_it_does() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        await one.snapshot(1)
        one.nft.refuses = Rejection.INVALID
        # Unknown addresses are to be closed now.
        one.enforcement.end_stream()
        async with asyncio.timeout(DEADLINE):
            while one.enforcement.trouble is None:
                await asyncio.sleep(0.001)
                await one.clock.advance(0.05)
        status, text = await one.ask("/readyz")
        assert (status, text.partition(": ")[0]) == (503, "the kernel does not hold what it should")
        assert text.endswith(": it is so\n")
        assert await one.ask("/healthz") == (200, "ok\n")
        one.nft.refuses = None
        one.enforcement.begin_stream()
        applying = asyncio.create_task(one.snapshot(1))
        while not applying.done():
            await asyncio.sleep(0.001)
            await one.clock.advance(0.05)
        assert await one.ask("/readyz") == (200, "ok\n")


async def test_connections_that_do_not_end_make_a_node_not_ready_until_they_do() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        one.connections.refusals = 1000
        await one.snapshot(1)
        status, text = await one.ask("/readyz")
        assert (status, text.partition(":")[0]) == (503, "connections that should have ended may go on")
        assert await one.ask("/healthz") == (200, "ok\n")
        one.connections.refusals = 0
        await one.snapshot(2)
        assert await one.ask("/readyz") == (200, "ok\n")


async def test_a_kernel_that_hangs_makes_a_node_not_ready_and_in_the_end_not_alive() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        one.nft.go.clear()
        hanging = asyncio.create_task(one.snapshot(1))
        await asyncio.to_thread(one.nft.stuck.wait, DEADLINE)
        await one.clock.advance(11)
        assert await one.ask("/readyz") == (503, "the kernel has been busy for 11 s\n")
        assert await one.ask("/healthz") == (200, "ok\n")
        await one.clock.advance(110)
        assert await one.ask("/healthz") == (503, "the kernel has not answered for 121 s\n")
        one.nft.go.set()
        await hanging
        assert await one.ask("/readyz") == (200, "ok\n")


async def test_a_kernel_that_is_slow_for_a_minute_is_waited_for() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        one.nft.go.clear()
        hanging = asyncio.create_task(one.snapshot(1))
        await asyncio.to_thread(one.nft.stuck.wait, DEADLINE)
        await one.clock.advance(SLOW_SECONDS + 1)
        assert (await one.ask("/readyz"))[0] == 503
        await one.clock.advance(60.0)
        assert await one.ask("/healthz") == (200, "ok\n")
        one.nft.go.set()
        await hanging
        assert await one.ask("/readyz") == (200, "ok\n")


async def test_a_message_that_is_never_done_with_is_told_and_in_the_end_an_ailment() -> None:
    """Not by the kernel's fault: what waits between the attempts does not wake."""
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        await one.snapshot(1)
        never = asyncio.create_task(one.enforcement._turn.__aenter__())
        await until(never.done)
        await one.clock.advance(SLOW_SECONDS + 1)
        assert await one.ask("/readyz") == (503, "what has been said is not in force yet for 6 s\n")
        await one.clock.advance(LOST_SECONDS - SLOW_SECONDS - 1)
        assert await one.ask("/healthz") == (200, "ok\n")
        await one.clock.advance(1.0)
        assert await one.ask("/healthz") == (503, "what has been said is not in force yet for 901 s\n")
        await one.enforcement._turn.__aexit__()
        assert await one.ask("/healthz") == await one.ask("/readyz") == (200, "ok\n")


LATE = [
    ("node", HUNG_SECONDS, "the node has not been looked at"),
    ("tables", LOST_SECONDS, "the tables have not been compared with what they should be"),
]


@pytest.mark.parametrize(("step", "lost", "words"), LATE)
async def test_looks_that_are_late_are_told_and_in_the_end_an_ailment(
    step: str, lost: float, words: str
) -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        await one.snapshot(1)
        one.late[step] = SLOW_SECONDS
        assert await one.ask("/readyz") == (200, "ok\n")
        one.late[step] = lost
        assert await one.ask("/readyz") == (503, f"{words} for {lost:.0f} s\n")
        assert await one.ask("/healthz") == (200, "ok\n")
        one.late[step] = lost + 1
        assert await one.ask("/healthz") == (503, f"{words} for {lost + 1:.0f} s\n")
        one.late[step] = 0.0
        assert await one.ask("/healthz") == await one.ask("/readyz") == (200, "ok\n")


async def test_what_cannot_be_saved_is_told_beside_every_answer_and_nobody_is_restarted_for_it() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        await one.snapshot(1)
        one.disk.fails_at = 1
        await one.saving.save(one.enforcement.session.in_force)
        told = "ok\nwarning: the rule set in force cannot be saved in a disk of the tests: No space left on device\n"
        assert await one.ask("/healthz") == await one.ask("/readyz") == (200, told)
        await one.clock.advance(7)
        text = (await one.ask("/metrics"))[1]
        assert "policy_enforcer_unsaved_seconds 7.0\n" in text
        assert 'policy_enforcer_save_failures_total{reason="full"} 1.0\n' in text
        await one.saving.save(one.enforcement.session.in_force)
        assert await one.ask("/healthz") == await one.ask("/readyz") == (200, "ok\n")
        assert "policy_enforcer_unsaved_seconds 0.0\n" in (await one.ask("/metrics"))[1]


async def test_a_task_that_has_ended_makes_a_node_not_alive() -> None:
    async with node() as one:
        one.task.cancel()
        await until(one.task.done)
        assert await one.ask("/healthz") == (503, "the task that has to enforce has ended\n")


async def test_metrics_hold_numbers_and_no_names() -> None:
    async with node() as one:
        await one.enforcement.adopt()
        one.enforcement.begin_stream()
        one.enforcement.note_connected()
        await one.snapshot(1)
        status, text = await one.ask("/metrics")
        assert status == 200
        for line in (
            "policy_enforcer_generation 1.0",
            "policy_enforcer_connected 1.0",
            "policy_enforcer_pods 2.0",
            "policy_enforcer_pods_waiting 0.0",
            "policy_enforcer_pods_overdue 0.0",
            'policy_enforcer_nacks_total{cause="kernel"} 0.0',
            'policy_enforcer_apply_seconds_count{phase="switch"} 1.0',
        ):
            assert f"{line}\n" in text
        assert "web" not in text


async def test_only_an_address_that_cannot_be_listened_on_is_told_as_such() -> None:
    async with node() as one:
        host, port = one.url.removeprefix("http://").split(":")
        health = Health(
            one.enforcement, one.kernel, one.reach, one.saving, lambda: None, Metrics(), one.look, {}, ()
        )
        with pytest.raises(ListenError, match="address already in use"):
            async with serving(health, HostPort(host, int(port))):
                pass
        with pytest.raises(OSError, match="something else"):
            async with serving(health, HostPort(host, 0)):
                raise OSError("something else")


async def test_idle_connections_do_not_keep_a_kubelet_out() -> None:
    async with node() as one:
        host, port = one.url.removeprefix("http://").split(":")
        await one.enforcement.adopt()
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(3 * MOST_CONNECTIONS)]

        assert await one.ask("/healthz") == (200, "ok\n")

        ended = [asyncio.create_task(reader.read()) for reader, _ in idle]
        async with asyncio.timeout(5):
            for task in ended[: 2 * MOST_CONNECTIONS]:
                assert await task == b""
        for task in ended:
            task.cancel()
        for _, writer in idle:
            writer.close()
