"""The operator while the API server fails: it stays on what it knows, goes on by itself, and mends what it missed.

Every pause of the operator is short here, so that each fault lasts longer than all pauses of a request together.
test_long_faults.py has the pauses as they are.
"""

import gc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from compilers.ruleset.rule_set import RuleSet
from policy_controller.controller import api, handlers, relist, watches
from policy_controller.controller import operator as operating
from policy_controller.controller.kinds import Kind
from policy_controller.controller.tests.objects import new, pod, policy
from policy_controller.controller.tests.running import Running, operator_of
from policy_controller.controller.tests.scripted_node import ScriptedNode, node
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import (
    ANSWERS,
    Disorder,
    End,
    ErrorEvent,
    Events,
    Fault,
    Faults,
    Garbage,
    HalfList,
    Hang,
    Refuse,
    Requests,
    Reset,
    StaleList,
    Stall,
    Verb,
    What,
)

Record = Callable[[str, object], None]

COUNTED = "faults of the API server, survived by the operator"
RELIST_SECONDS = 1.0
PAUSES = (0.05, 0.1)
ATTEMPTS = 4 * (len(PAUSES) + 2)
"""So many failures are more than one of each kind after every pause."""
OF_WATCHES = Requests(verbs=frozenset({Verb.WATCH}))
OF_LISTS = Requests(verbs=frozenset({Verb.LIST}))
OPEN_ONLY = 0
TOLD = 3
"""So many pods come one after the other; LISTs are a second apart, and cannot be faster than each of them."""


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The operator's own pauses and limits, each some hundredth of what it is."""
    monkeypatch.setattr(relist, "BACKOFF_SECONDS", PAUSES)
    monkeypatch.setattr(relist, "SETTLE_SECONDS", 0.05)
    monkeypatch.setattr(watches, "BACKOFF_SECONDS", PAUSES)
    monkeypatch.setattr(watches, "GLANCE_SECONDS", 0.02)
    monkeypatch.setattr(handlers, "ERROR_BACKOFFS", PAUSES)
    monkeypatch.setattr(handlers, "ANEW_SECONDS", 0.05)
    monkeypatch.setattr(handlers, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(handlers, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(api, "SECONDS", 0.3)
    yield
    # kopf drops tasks that have failed; what asyncio says of them belongs to this test, not to the end of the run.
    gc.collect()


@dataclass
class Settled:
    """An operator whose node enforces what the cluster says: three pods, and a policy that closes them."""

    running: Running
    node: ScriptedNode
    server: ApiServer
    faults: Faults

    def policies(self) -> list[str]:
        """What the operator knows."""
        return [one.name for one in self.running.operator.store.cluster().policies]

    def repairs(self, kind: Kind) -> dict[str, int]:
        """What LISTs put right."""
        counted = self.running.operator.relister.repairs
        return {what: count for (of, what), count in counted.items() if of is kind}

    def change(self) -> None:
        """A policy goes and another comes; no watch that ended before can be told of it any more."""
        self.server.delete("NetworkPolicy", "deny", "shop")
        self.server.create(new(policy("late")))
        self.server.compact()

    async def in_force(self) -> RuleSet:
        """Returns once the node enforces the change."""
        await eventually(lambda: self.policies() == ["late"])
        return await self.caught_up()

    async def caught_up(self) -> RuleSet:
        """Returns once the node enforces what the operator knows, which may go on changing meanwhile."""
        while self.node.rule_set != (wanted := self.running.wanted("node-1")):
            await self.node.apply()
        return wanted

    async def watching(self) -> None:
        """Returns once all kinds are watched again, by watches that tell: no LIST has to put their word right."""
        await eventually(lambda: self.running.operator.watches.alive == len(Kind))
        await eventually(lambda: self.server.open_watches >= len(Kind))
        assert [number for number in range(TOLD) if await self._told(number)]
        await eventually(lambda: self.running.operator.ailments() == [])

    async def _told(self, number: int) -> bool:
        """Whether a watch told of a new pod; a LIST that is under way just then may be faster, and put it right."""
        before, known = self.repairs(Kind.POD), self.running.operator.store.count(Kind.POD)
        self.server.create(new(pod(f"fresh-{number}", address=f"10.0.0.{9 + number}", node="node-1")))
        await eventually(lambda: self.running.operator.store.count(Kind.POD) == known + 1)
        await self.caught_up()
        return self.repairs(Kind.POD) == before


@asynccontextmanager
async def settled(server: ApiServer, faults: Faults, folder: Path) -> AsyncIterator[Settled]:
    server.create(new(policy("deny")))
    for number in range(3):
        server.create(new(pod(f"web-{number}", address=f"10.0.0.{number + 1}", node="node-1")))
    async with (
        operator_of(server, folder, RELIST_SECONDS) as running,
        node(running.door, "node-1") as one,
    ):
        await one.until(running.wanted("node-1"))
        await eventually(lambda: server.open_watches == len(Kind))
        yield Settled(running, one, server, faults)


RESTARTS = {"401", "410", "a web page", "an empty document", "no JSON"}
"""Of these kopf ends, and has to be started again."""


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_operator_that_is_told_nothing_stays_on_what_it_knows_and_recovers(
    server: ApiServer, faults: Faults, tmp_path: Path, name: str, record_property: Record
) -> None:
    async with settled(server, faults, tmp_path) as at:
        operator = at.running.operator
        before, sent = operator.store.revision, operator.streams.statuses()["node-1"].sent

        standing = faults.begin(Fault(ANSWERS[name]))
        faults.begin(Fault(Reset(), OF_WATCHES, times=OPEN_ONLY))
        at.change()
        await eventually(lambda: standing.met > ATTEMPTS)

        assert (operator.store.revision, operator.compile_loop.revision) == (before, before)
        assert operator.streams.statuses()["node-1"].sent == sent
        assert at.policies() == ["deny"]
        assert await at.running.admin("/healthz") == (200, "ok\n")
        if name in RESTARTS:
            await eventually(lambda: operator.watches.restarts > 0)
        else:
            assert operator.watches.restarts == 0

        faults.clear()
        wanted = await at.in_force()
        assert wanted.isolates
        await eventually(lambda: at.repairs(Kind.POLICY).get("removed") == 1)
        await at.watching()
    record_property(COUNTED, 1)


HALF_BLIND: dict[str, tuple[What, Requests]] = {
    "watches end": (End(), OF_WATCHES),
    "watches are gone": (ErrorEvent(), OF_WATCHES),
    "watches end with an error": (ErrorEvent(500), OF_WATCHES),
    "watches stall": (Stall(), OF_WATCHES),
    "watches are reset": (Reset(), OF_WATCHES),
    "watches hang": (Hang(), OF_WATCHES),
    "watches 401": (Refuse(401), OF_WATCHES),
    "watches 403": (Refuse(403), OF_WATCHES),
    "watches 410": (Refuse(410), OF_WATCHES),
    "watches 503": (Refuse(503), OF_WATCHES),
    "events are lost": (Events(Disorder.LOST), OF_WATCHES),
}


@pytest.mark.parametrize(("what", "requests"), HALF_BLIND.values(), ids=list(HALF_BLIND))
async def test_what_watches_do_not_tell_a_list_does_and_it_is_counted(
    server: ApiServer, faults: Faults, tmp_path: Path, what: What, requests: Requests, record_property: Record
) -> None:
    async with settled(server, faults, tmp_path) as at:
        standing = faults.begin(Fault(what, requests))
        if not isinstance(what, Stall | Events):
            faults.begin(Fault(Reset(), OF_WATCHES, times=OPEN_ONLY))
        at.change()
        assert (await at.in_force()).isolates
        assert standing.met > 0
        await eventually(lambda: at.repairs(Kind.POLICY).get("removed") == 1)
        faults.clear()
        await at.watching()
    record_property(COUNTED, 1)


@pytest.mark.parametrize("are", [Disorder.REPEATED, Disorder.SWAPPED], ids=["repeated", "swapped"])
async def test_events_in_any_order_end_in_what_the_cluster_is(
    server: ApiServer, faults: Faults, tmp_path: Path, are: Disorder, record_property: Record
) -> None:
    async with settled(server, faults, tmp_path) as at:
        with faults.during(Events(are)) as standing:
            at.change()
            for number in range(6):
                server.apply(new(pod("web-0", address=f"10.0.1.{number}", node="node-1")))
            await eventually(lambda: standing.met > 3)
        await at.in_force()
        await at.watching()
        await at.caught_up()
        (web,) = (one for one in at.running.operator.store.cluster().pods if one.name == "web-0")
        assert [str(address) for address in web.addresses] == ["10.0.1.5"]
    record_property(COUNTED, 1)


LISTS: dict[str, What] = {
    "401": Refuse(401),
    "403": Refuse(403),
    "503": Refuse(503),
    "half": HalfList(),
    "a web page": Garbage(),
    "of nothing, and older": StaleList(1),
}


@pytest.mark.parametrize("what", LISTS.values(), ids=list(LISTS))
async def test_lists_that_fail_take_nothing_away_and_watches_go_on_telling(
    server: ApiServer, faults: Faults, tmp_path: Path, what: What, record_property: Record
) -> None:
    async with settled(server, faults, tmp_path) as at:
        relister, known = at.running.operator.relister, at.running.operator.store.count(Kind.POD)
        assert known > 0
        faults.begin(Fault(what, OF_LISTS))
        await eventually(lambda: min(relister.failures[kind] for kind in Kind) > len(PAUSES))
        assert at.running.operator.store.count(Kind.POD) == known
        assert at.policies() == ["deny"]
        server.delete("NetworkPolicy", "deny", "shop")
        server.create(new(policy("late")))
        await at.in_force()
        faults.clear()
        assert not relister.repairs
        await at.watching()
        assert not at.repairs(Kind.POLICY)
    record_property(COUNTED, 1)


async def test_a_list_that_is_older_takes_nothing_away_that_a_watch_has_told(
    server: ApiServer, faults: Faults, tmp_path: Path, record_property: Record
) -> None:
    async with settled(server, faults, tmp_path) as at:
        then = server.resource_version
        at.server.create(new(policy("late")))
        await eventually(lambda: at.policies() == ["deny", "late"])
        with faults.during(StaleList(then), OF_LISTS) as standing:
            # A whole picture of that time, to kopf and to the operator.
            faults.begin(Fault(ErrorEvent(), OF_WATCHES, times=OPEN_ONLY))
            await eventually(lambda: standing.met > ATTEMPTS)
            assert at.policies() == ["deny", "late"]
        await at.watching()
        assert not at.running.operator.relister.repairs
    record_property(COUNTED, 1)


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_with_pauses_that_run_out_kopf_would_end(
    server: ApiServer, faults: Faults, tmp_path: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kopf does of itself; the tests above could not see it otherwise."""
    monkeypatch.setattr(handlers, "EndlessBackoffs", lambda: PAUSES)
    async with settled(server, faults, tmp_path) as at:
        with faults.during(Refuse(status)):
            faults.begin(Fault(Reset(), OF_WATCHES, times=OPEN_ONLY))
            await eventually(lambda: at.running.operator.watches.restarts > 0)
        at.change()
        await at.in_force()


async def test_liveness_sees_watches_that_cannot_live_while_the_api_server_answers(
    server: ApiServer, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operating, "WATCHES_SECONDS", 0.5)
    async with settled(server, faults, tmp_path) as at:
        with faults.during(Refuse(410), Requests(agent="kopf")):
            faults.begin(Fault(Reset(), OF_WATCHES, times=OPEN_ONLY))
            await eventually(lambda: at.running.operator.ailments() != [])
            status, text = await at.running.admin("/healthz")
        assert (status, text) == (503, f"Only 0 of {len(Kind)} kinds are being watched.\n")
        await at.watching()
