"""Faults around a whole installation, each while every pair is asked without a pause: nothing leaks and nothing is refused.

The API server fails, events are lost, saved rule sets are damaged, others' tables come and go, and strangers crowd every port.
"""

import asyncio
import os
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from policy_controller.testing.agreement.tests.scene import command
from policy_controller.testing.api_server.faults import (
    Disorder,
    ErrorEvent,
    Events,
    Fault,
    Garbage,
    Hang,
    Refuse,
    Requests,
    Reset,
    Verb,
    What,
)
from policy_controller.testing.installation.installation import (
    ADMIN_PORT,
    ENFORCER_PORT,
    OPERATOR,
    Ending,
    enforcer_of,
)
from policy_controller.testing.installation.tests.rounds import Record
from policy_controller.testing.installation.tests.strangers import SAID, Crowd, descriptors, resident_bytes
from policy_controller.testing.installation.tests.town import NODES, Town
from policy_controller.testing.laboratory import NetworkKind, inside
from policy_controller.testing.probe import Tally

pytestmark = [
    pytest.mark.packets,
    pytest.mark.timeout(600),
    # An installation of its own, and minutes of faults; the short extent tries each by itself (docs/reliability.md).
    pytest.mark.whole,
    pytest.mark.asyncio(loop_scope="module"),
    # What happens here happens in programs, not in pod networks.
    pytest.mark.parametrize("town", [NetworkKind.BRIDGE], indirect=True, ids=["bridge"], scope="module"),
]

NODE: Final = NODES[0]
AGENTS: Final = ("kopf", "kr8s")
WATCHES: Final = Requests(frozenset({Verb.WATCH}))
WITHIN: Final = 30.0
MOST_BETWEEN_MS: Final = 500.0
"""A machine that is so busy that it probes more rarely sees no short gap."""


@asynccontextmanager
async def probed(town: Town, fault: str, record_property: Record) -> AsyncIterator[None]:
    """Every pair is asked for the length of the block, and sees what the evaluator says."""
    with await town.probing() as probing:
        yield
        tally: Tally = await asyncio.to_thread(probing.stop)
    record_property(f"{fault}: probes", tally.probes)
    record_property(f"{fault}: heartbeats", tally.heartbeats)
    record_property(f"{fault}: leaks", tally.leaks)
    record_property(f"{fault}: refusals", tally.refusals)
    assert tally.is_clean, tally
    assert tally.usual_gap_ms < MOST_BETWEEN_MS, tally
    assert tally.probes > 100


async def until(condition: Callable[[], bool], within: float = WITHIN) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - programs and files set no event
            await asyncio.sleep(0.02)


def connections_lost(town: Town) -> int:
    """How many streams the operator has lost."""
    return len(re.findall(r"node \S+ disconnected", town.installation.log_of(OPERATOR)))


EACH_SECONDS: Final = 8.0
ANSWERS: Final[Sequence[What]] = (
    Refuse(401),
    Hang(),
    Refuse(403),
    Reset(),
    Refuse(410),
    Refuse(429, retry_after=1),
    Refuse(500),
    Garbage(),
    Refuse(503),
)


async def test_an_api_server_that_fails_in_every_way_is_noticed_by_no_packet(
    town: Town, record_property: Record
) -> None:
    lost = connections_lost(town)
    async with probed(town, "API server fails", record_property):
        await town.api.go_wrong(Fault(Reset(), WATCHES, times=0))
        for what in ANSWERS:
            for agent in AGENTS:
                await town.api.go_wrong(Fault(what, Requests(agent=agent), seconds=EACH_SECONDS))
            await town.admit(f"while-{type(what).__name__.lower()}")
            await asyncio.sleep(EACH_SECONDS)
        began = time.monotonic()
        # A request that hangs is given up after a minute.
        await town.installation.in_force(await town.cluster(), seconds=180)
        took = time.monotonic() - began
    record_property("API server fails: seconds", round(EACH_SECONDS * len(ANSWERS)))
    record_property("API server fails: seconds to recover", round(took))
    record_property("API server fails: ways", len(ANSWERS))
    assert connections_lost(town) == lost


async def repairs(town: Town, what: str) -> float:
    """How much LISTs have put right."""
    text = await town.installation.admin("/metrics")
    found = re.findall(rf'^policy_controller_repairs_total{{.*what="{what}"}} (\S+)$', text, re.MULTILINE)
    return sum(map(float, found))


async def test_events_that_are_lost_doubled_or_swapped_are_mended_by_a_list_and_counted(
    town: Town, record_property: Record
) -> None:
    gone = await town.add_pod("gone", NODE)
    await town.in_force()
    before = await repairs(town, "removed")
    async with probed(town, "events are lost", record_property):
        for disorder in (Disorder.REPEATED, Disorder.SWAPPED):
            await town.api.go_wrong(Fault(Events(disorder), WATCHES, seconds=1.0))
            for number in range(6):
                await town.admit(f"{disorder.value}-{number}")
            await asyncio.sleep(1.0)
            await town.admit(f"after-{disorder.value}")
            await town.in_force()
        await town.api.go_wrong(Fault(Events(Disorder.LOST), WATCHES, seconds=1.0))
        await town.remove_pod(gone)
        await town.admit("while-events-are-lost")
        await asyncio.sleep(1.2)
        # The gap: watches begin anew with what there is, and say nothing of who went meanwhile.
        began = time.monotonic()
        await town.api.go_wrong(Fault(ErrorEvent(410), WATCHES, times=0))
        await town.in_force()
        took = time.monotonic() - began
    mended = await repairs(town, "removed") - before
    record_property("events are lost: deletions that a LIST put right", mended)
    record_property("events are lost: ms from the gap to all in force", round(took * 1000))
    assert mended == 1


def truncate(file: Path, _: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def damage(file: Path, _: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def take_of_another(file: Path, other: Path) -> None:
    shutil.copyfile(other, file)


def make_older(file: Path, _: Path) -> None:
    content = bytearray(file.read_bytes())
    content[8:12] = bytes(4)
    file.write_bytes(content)


def give_away(file: Path, _: Path) -> None:
    os.chown(file, 65534, 65534)
    file.chmod(0o644)


def make_a_link(file: Path, other: Path) -> None:
    file.unlink()
    file.symlink_to(other)


FLAWS: Final[dict[str, tuple[Callable[[Path, Path], None], str]]] = {
    "truncated": (truncate, "truncated"),
    "of another node": (take_of_another, "node"),
    "a bit is another": (damage, "checksum"),
    "of an older format": (make_older, "version"),
    "of another owner": (give_away, "not_ours"),
    "a link": (make_a_link, "not_ours"),
}


def saved(town: Town, node: str) -> Path:
    return town.installation.disk_of(node) / "var/lib/policy-controller/rule-set"


@pytest.mark.parametrize(("spoil", "flaw"), FLAWS.values(), ids=list(FLAWS))
async def test_a_saved_rule_set_that_is_not_fit_is_refused_with_a_reason_and_costs_no_packet(
    town: Town, spoil: Callable[[Path, Path], None], flaw: str, record_property: Record
) -> None:
    file, name = saved(town, NODE), enforcer_of(NODE)
    async with probed(town, "saved rule set is unfit", record_property):
        await until(file.exists)
        await town.installation.end(name, Ending.KILL)
        await asyncio.to_thread(spoil, file, saved(town, NODES[1]))
        unfit = file.read_bytes()
        await town.installation.begin(name)
        await town.admit(f"unfit-{flaw}")
        await town.in_force()
        # A fit one takes its place.
        await until(lambda: not file.is_symlink() and file.read_bytes() != unfit)
        text = await enforcer_metrics(town, NODE)
    assert f'policy_enforcer_saved_refused_total{{reason="{flaw}"}} 1.0' in text
    record_property("saved rule set is unfit: ways", 1)


async def enforcer_metrics(town: Town, node: str) -> str:
    _, text = await asyncio.to_thread(
        asked, town.installation.network_of(enforcer_of(node)), ("127.0.0.1", ENFORCER_PORT), "/metrics"
    )
    return text


def asked(network: str, address: tuple[str, int], path: str) -> tuple[int, str]:
    """Status and text of a GET out of a network namespace."""
    with inside(network):
        connection = socket.create_connection(address, timeout=10)
    with connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body.decode()


FOREIGN: Final = """
table ip nat_of_a_runtime {
    chain post { type nat hook postrouting priority srcnat; policy accept; ip saddr 172.30.0.0/16 masquerade; }
    chain pre { type nat hook prerouting priority dstnat; policy accept; tcp dport 18080 dnat to 172.30.0.2:80; }
}
table inet network_of_another {
    set marked { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
    chain forward { type filter hook forward priority filter + 5; policy accept; ip saddr @marked counter drop; }
}
table bridge frames_of_another {
    chain forward { type filter hook forward priority 10; policy accept; ether type 0x88cc drop; }
}
"""
NAMES: Final = ("ip nat_of_a_runtime", "inet network_of_another", "bridge frames_of_another")
LEGACY: Final = "*filter\n:FORWARD ACCEPT [0:0]\n:RUNTIME - [0:0]\n-A FORWARD -j RUNTIME\n-A RUNTIME -s 192.0.2.9/32 -j DROP\nCOMMIT\n"
RELOADS: Final = 60
RELOADED: Final = "".join(f"delete table {name}\n" for name in NAMES) + FOREIGN


async def test_tables_of_others_come_and_go_around_ours_and_neither_harms_the_other(
    town: Town, record_property: Record
) -> None:
    namespace = town.laboratory.nodes[NODE].namespace

    def nft(*words: str, text: str = "") -> str:
        return command(namespace, "nft", *words, text=text)

    def theirs() -> list[str]:
        return [nft("-s", "list", "table", *name.split()) for name in NAMES]

    differed = metric(await enforcer_metrics(town, NODE), "policy_enforcer_differences_total")
    async with probed(town, "others' tables reload", record_property):
        await asyncio.to_thread(nft, "-f", "-", text=FOREIGN)
        written = await asyncio.to_thread(theirs)
        for number in range(RELOADS):
            for program in ("iptables-legacy", "ip6tables-legacy"):
                rules = (
                    LEGACY
                    if program == "iptables-legacy"
                    else LEGACY.replace("192.0.2.9/32", "2001:db8::9/128")
                )
                await asyncio.to_thread(command, namespace, f"{program}-restore", text=rules)
            await asyncio.to_thread(nft, "-f", "-", text=RELOADED)
            await town.admit(f"beside-others-{number}")
            await town.in_force()
            assert await asyncio.to_thread(theirs) == written
        for program in ("iptables-legacy", "ip6tables-legacy"):
            await asyncio.to_thread(command, namespace, program, "-F")
        await asyncio.to_thread(nft, "-f", "-", text="".join(f"delete table {name}\n" for name in NAMES))
        await town.in_force()
    record_property("others' tables reload: reloads", RELOADS)
    # Nobody found anything amiss in ours.
    assert metric(await enforcer_metrics(town, NODE), "policy_enforcer_differences_total") == differed


def metric(text: str, name: str) -> float:
    (found,) = re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found)


MORE_BYTES: Final = 64 << 20
OWN: Final = 150
"""Descriptors that a port may keep beyond those of strangers (bounded.MOST_CONNECTIONS), and that a process opens meanwhile."""


async def test_strangers_at_every_port_are_bounded_and_harm_no_service(
    town: Town, record_property: Record
) -> None:
    each, seconds = 200, 12.0
    installation = town.installation
    operator, enforcer = installation.network_of(OPERATOR), installation.network_of(enforcer_of(NODE))
    pod = "127.0.0.1"
    crowds = {
        "operator, enforcement": Crowd(operator, (pod, 9473)),
        "operator, health": Crowd(operator, (pod, 9472)),
        "operator, admin": Crowd(operator, (pod, ADMIN_PORT)),
        "enforcer, health": Crowd(enforcer, ("127.0.0.1", ENFORCER_PORT)),
    }
    processes = {name: installation.number_of(name) for name in (OPERATOR, enforcer_of(NODE))}
    numbers = {name: number for name, number in processes.items() if number is not None}
    assert len(numbers) == len(processes)
    before = {name: (descriptors(number), resident_bytes(number)) for name, number in numbers.items()}
    lost = connections_lost(town)
    async with AsyncExitStack() as stack, probed(town, "strangers crowd", record_property):
        for crowd in crowds.values():
            stack.callback(crowd.leave)
            await asyncio.to_thread(crowd.come, each)
        until_ = time.monotonic() + seconds
        slowest = 0.0
        while time.monotonic() < until_:
            for crowd in crowds.values():
                await asyncio.to_thread(crowd.drip)
            began = time.monotonic()
            await town.admit(f"crowded-{began}")
            await town.in_force()
            slowest = max(slowest, time.monotonic() - began)
        assert (await asyncio.to_thread(asked, operator, (pod, ADMIN_PORT), "/healthz"))[0] == 200
        assert await installation.is_alive(enforcer_of(NODE))
        now = {name: (descriptors(number), resident_bytes(number)) for name, number in numbers.items()}
        for name, (open_before, bytes_before) in before.items():
            # Of the port of streams, who proves nothing is shown out after ten seconds: until then each has one.
            waiting = len(SAID) * each if name == OPERATOR else 0
            assert now[name][0] <= open_before + waiting + OWN, (name, before, now)
            assert now[name][1] <= bytes_before + MORE_BYTES, (name, before, now)
        await until(lambda: descriptors(numbers[OPERATOR]) <= before[OPERATOR][0] + OWN)
    record_property("strangers crowd: connections", len(crowds) * len(SAID) * each)
    record_property("strangers crowd: slowest change, ms", round(slowest * 1000))
    assert connections_lost(town) == lost
