"""What the real process had in force is so again after an end of any kind, in the real kernel and with the real file."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from compilers.nftables.render import Tables, render
from compilers.ruleset.digest import digest_of
from policy_controller.enforcer.saving import NAME
from policy_controller.enforcer.tests.host import BASE, Host
from policy_controller.enforcer.tests.operator_double import DEADLINE, OperatorDouble, until
from policy_controller.enforcer.tests.states import (
    NOBODY_ISOLATED,
    NODE,
    WEB_CHANGED,
    WEB_ISOLATED,
    untold,
)
from policy_controller.wire.messages import Ack, Hello, InForce, Nack, NackCause, SnapshotMessage, Stands

pytestmark = pytest.mark.kernel

STANDS = Stands(10, 10, 10)
OPEN = Tables(BASE.inet, BASE.bridge)


async def told(host: Host, operator: OperatorDouble, *snapshots: SnapshotMessage) -> None:
    """The enforcer that runs puts these in force, and the first of them is saved."""
    stream, _ = await operator.next_stream()
    for snapshot in snapshots:
        assert await stream.say(snapshot) == Ack(snapshot.generation, digest_of(snapshot.rule_set))
    await until(lambda: host.saved() is not None)


FIRST = SnapshotMessage(1, STANDS, WEB_ISOLATED)
SECOND = SnapshotMessage(2, Stands(11, 11, 11), WEB_CHANGED)


async def test_a_node_that_restarts_enforces_what_it_did_before_anybody_hears_that_its_enforcer_lives(
    host: Host,
) -> None:
    async with host.operator() as operator:
        with host.running():
            await told(host, operator, FIRST)
    host.forget()
    with host.running():
        async with asyncio.timeout(DEADLINE):
            while (await asyncio.to_thread(host.ask, "/healthz"))[0] != 200:
                pass
        assert host.tables() == untold(WEB_ISOLATED, BASE)
        status, said = await asyncio.to_thread(host.ready)
        assert (status, "not the operator's last word" in said) == (503, True)


@pytest.mark.parametrize(
    "forgets",
    [pytest.param(False, id="kernel knows"), pytest.param(True, id="kernel forgot", marks=pytest.mark.whole)],
)
async def test_an_operator_that_lags_does_not_lead_a_node_back_when_its_enforcer_is_another(
    host: Host, forgets: bool
) -> None:
    async with host.operator() as operator:
        with host.running():
            await told(host, operator, FIRST)
        if forgets:
            host.forget()
        with host.running():
            stream, hello = await operator.next_stream()
            assert hello == Hello(NODE, InForce(1, digest_of(WEB_ISOLATED), STANDS))
            answer = await stream.say(SnapshotMessage(1, Stands(10, 10, 9), NOBODY_ISOLATED))
            assert isinstance(answer, Nack)
            assert answer.cause is NackCause.OLDER
            assert host.tables() == untold(WEB_ISOLATED, BASE)
            later = SnapshotMessage(2, Stands(11, 11, 11), NOBODY_ISOLATED)
            assert isinstance(await stream.say(later), Ack)
            assert host.tables() == render(NOBODY_ISOLATED, BASE)


async def test_the_end_that_is_asked_for_saves_what_was_not_yet(host: Host) -> None:
    async with host.operator() as operator:
        with host.running() as process:
            await told(host, operator, FIRST, SECOND)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, DEADLINE) == 0
    saved = host.saved()
    assert saved is not None
    assert (saved.rule_set, saved.stands) == (WEB_CHANGED, SECOND.stands)


async def test_what_a_kill_kept_from_the_file_the_kernel_knows(host: Host) -> None:
    async with host.operator() as operator:
        with host.running():
            stream, _ = await operator.next_stream()
            assert isinstance(await stream.say(FIRST), Ack)
            await until(lambda: host.saved() is not None)
            assert isinstance(await stream.say(SECOND), Ack)
        saved = host.saved()
        assert saved is not None
        assert saved.rule_set == WEB_ISOLATED
        with host.running():
            stream, hello = await operator.next_stream()
            # The latest that it knows of.
            assert hello == Hello(NODE, InForce(1, digest_of(WEB_ISOLATED), STANDS))
            assert host.tables() == untold(WEB_CHANGED, BASE)
            # Older than the file, and so than what is in force; what lies in between nobody can tell.
            assert isinstance(await stream.say(SnapshotMessage(1, Stands(10, 9, 10), NOBODY_ISOLATED)), Nack)
            assert host.tables() == untold(WEB_CHANGED, BASE)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")


def give_away(path: Path) -> None:
    path.chmod(0o666)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (truncate, "which says"),
        pytest.param(damage, "its checksum is not that of what it holds", marks=pytest.mark.whole),
        pytest.param(give_away, "may be written by others", marks=pytest.mark.whole),
    ],
)
async def test_a_file_that_is_not_fit_is_told_and_counts_as_not_there(
    host: Host, change: Callable[[Path], None], words: str
) -> None:
    async with host.operator() as operator:
        with host.running():
            await told(host, operator, FIRST)
    change(host.site.state / NAME)
    host.forget()
    assert host.restored()[0] == 1
    assert host.tables() is None
    with host.running() as process:
        await host.told("every pod is open")
        assert host.tables() == OPEN
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.to_thread(process.communicate, None, DEADLINE)
    assert words in said


async def test_a_host_unit_puts_it_in_force_before_there_is_an_enforcer(host: Host) -> None:
    assert host.restored() == (0, "nothing was saved")
    assert host.tables() is None
    async with host.operator() as operator:
        with host.running():
            await told(host, operator, FIRST)
        host.forget()
        assert host.restored() == (0, "is in force again")
        assert host.tables() == untold(WEB_ISOLATED, BASE)
        assert host.restored() == (0, "is what the kernel holds")
        with host.running():
            _, hello = await operator.next_stream()
            assert hello.in_force == InForce(1, digest_of(WEB_ISOLATED), STANDS)
            assert host.tables() == untold(WEB_ISOLATED, BASE)


def read_only(_: Path) -> tuple[str, ...]:
    return ("unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh")


def full(state: Path) -> tuple[str, ...]:
    state.mkdir()
    script = (
        'mount -t tmpfs -o size=4k,mode=700 none "$0" && head -c 4096 /dev/zero > "$0/taken" && exec "$@"'
    )
    return ("unshare", "--mount", "sh", "-c", script, str(state))


def missing(state: Path) -> tuple[str, ...]:
    state.write_bytes(b"")
    return ()


def open_to_all(state: Path) -> tuple[str, ...]:
    state.mkdir()
    state.chmod(0o777)
    return ()


@pytest.mark.parametrize(
    ("ail", "reason", "words"),
    [
        (read_only, "read_only", "Read-only file system"),
        (full, "full", "No space left on device"),
        (missing, "other", "Not a directory"),
        (open_to_all, "denied", "the directory may be written by others"),
    ],
)
async def test_a_node_whose_disk_ails_enforces_is_ready_and_says_so(
    host: Host, ail: Callable[[Path], tuple[str, ...]], reason: str, words: str
) -> None:
    async with host.operator() as operator:
        with host.running(before=ail(host.site.state)):
            stream, _ = await operator.next_stream()
            assert isinstance(await stream.say(FIRST), Ack)
            assert host.tables() == render(WEB_ISOLATED, BASE)
            warning = f"warning: the rule set in force cannot be saved in {host.site.state}: {words}"
            async with asyncio.timeout(DEADLINE):
                while warning not in (answer := await asyncio.to_thread(host.ready))[1]:
                    pass
            assert answer[0] == 200
            assert (await asyncio.to_thread(host.ask, "/healthz"))[0] == 200
            metrics = (await asyncio.to_thread(host.ask, "/metrics"))[1]
            assert f'policy_enforcer_save_failures_total{{reason="{reason}"}} 1.0' in metrics
            assert isinstance(await stream.say(SECOND), Ack)
            assert host.tables() == render(WEB_CHANGED, BASE)
