"""What /healthz and /readyz of the operator say when one part of it is stuck, and that nothing else is taken for that."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, ClientTimeout
from prometheus_client import CollectorRegistry

from policy_controller.controller import compile_loop, handlers, relist, signs
from policy_controller.controller import operator as operating
from policy_controller.controller.compile_loop import RETRY_SECONDS
from policy_controller.controller.health import health, serving
from policy_controller.controller.identity.dates import today
from policy_controller.controller.kinds import DECIDING, Kind
from policy_controller.controller.operator import (
    COMPILE_SECONDS,
    SILENT_SECONDS,
    UNCOMPILED_SECONDS,
    Operator,
)
from policy_controller.controller.relist import LIST_SECONDS, SLACK_SECONDS
from policy_controller.controller.settings import Settings
from policy_controller.controller.signs import STEADY_SECONDS, Signs
from policy_controller.controller.tests.objects import namespace, new, pod, policy
from policy_controller.controller.tests.running import operator_of
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.api_server import ApiServer
from policy_controller.testing.api_server.faults import (
    ErrorEvent,
    Fault,
    Faults,
    Refuse,
    Requests,
    Reset,
    Verb,
)
from policy_controller.testing.clock import FakeClock
from policy_controller.wire.channel import HostPort

HOUR: Final = 3_600.0
OF_WATCHES: Final = Requests(verbs=frozenset({Verb.WATCH}))


def ready(operator: Operator) -> list[str]:
    """Why it is not ready, but for the certificate, which it has not."""
    return [str(trouble) for trouble in operator.reasons_not_ready() if "certificate" not in str(trouble)]


def listed(operator: Operator) -> None:
    """The API server has just answered for every kind, and a watch of each has told something."""
    operator.relister._listed_at = dict.fromkeys(Kind, operator._clock.now())
    operator.relister.synced.set()
    operator.cluster_settings.known.set()
    operator.watches.missing_since = None
    for kind in Kind:
        number = operator.signs.opened(kind)
        operator.signs.heard(kind)
        operator.signs.ended(kind, number)


@pytest.fixture
async def compiling(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[Operator, FakeClock, threading.Event]]:
    """An operator whose compiler works while the event is set."""
    go, clock = threading.Event(), FakeClock()
    go.set()
    compile_round = compile_loop.compile_round

    def slow(*given: Any) -> compile_loop.Round:  # noqa: ANN401 - whatever it is given
        go.wait()
        return compile_round(*given)

    monkeypatch.setattr(compile_loop, "compile_round", slow)
    operator = Operator(Settings(), clock)
    operator.store.put(Kind.NAMESPACE, namespace("shop", version=1))
    listed(operator)
    task = asyncio.create_task(operator.compile_loop.run(operator.relister.synced))
    await clock.advance(1.0)
    await eventually(lambda: operator.compile_loop.revision is not None)
    yield operator, clock, go
    go.set()
    task.cancel()


async def test_a_compiler_that_does_not_end_is_told_and_in_the_end_an_ailment(
    compiling: tuple[Operator, FakeClock, threading.Event],
) -> None:
    operator, clock, go = compiling
    go.clear()
    operator.store.put(Kind.POD, pod("web", address="10.0.0.1", version=2))
    # A cluster that takes a while to compile is nobody's fault.
    await clock.advance(UNCOMPILED_SECONDS - 1)
    assert (operator.ailments(), ready(operator)) == ([], [])
    await clock.advance(2.0)
    listed(operator)
    assert ready(operator) == [f"What changed has not been compiled for {UNCOMPILED_SECONDS + 1:.0f} s."]
    await clock.advance(COMPILE_SECONDS - UNCOMPILED_SECONDS - 2)
    assert operator.ailments() == []
    await clock.advance(2.0)
    assert operator.ailments() == [f"The compiler has not finished for {COMPILE_SECONDS + 1:.0f} s."]
    go.set()
    await eventually(lambda: operator.compile_loop.revision == operator.store.revision)
    listed(operator)
    assert (operator.ailments(), ready(operator)) == ([], [])


async def test_what_is_not_compiled_or_not_served_is_told_until_it_is(
    compiling: tuple[Operator, FakeClock, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, clock, _ = compiling
    operator.compile_loop.revision = None
    assert ready(operator) == ["Nothing has been compiled yet."]

    def fails(_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(compile_loop, "Compiler", fails)
        operator.store.put(Kind.POD, pod("web", address="10.0.0.1", version=2))
        await clock.advance(1.0)
        await eventually(lambda: operator.compile_loop.failing)
        assert ready(operator) == ["The last state of the cluster does not compile."]
    await clock.advance(RETRY_SECONDS + 1.0)
    await eventually(lambda: not operator.compile_loop.failing)
    assert ready(operator) == []
    no_certificate = "Nodes are not served: there is no certificate yet."
    assert [trouble.sentence for trouble in operator.reasons_not_ready()] == [no_certificate]
    operator.server._server = object()  # type: ignore[assignment] # something that serves
    assert operator.reasons_not_ready() == []
    monkeypatch.setattr(type(operator.identity), "ends", today() - timedelta(seconds=1))
    expired = "Nodes are not served: the certificate has expired."
    assert [trouble.sentence for trouble in operator.reasons_not_ready()] == [expired]


async def test_changes_that_never_pause_are_no_sign_of_a_stuck_compiler(
    compiling: tuple[Operator, FakeClock, threading.Event],
) -> None:
    operator, clock, _ = compiling
    for version in range(10, 100):
        operator.store.put(Kind.POD, pod("web", address=f"10.0.0.{version}", version=version))
        await clock.advance(COMPILE_SECONDS / 20)
        await eventually(lambda: operator.compile_loop.revision == operator.store.revision)
        assert operator.compile_loop.behind_seconds() == 0.0


async def test_before_the_cluster_is_known_there_is_nothing_to_compile() -> None:
    clock = FakeClock()
    operator = Operator(Settings(), clock)
    task = asyncio.create_task(operator.compile_loop.run(operator.relister.synced))
    operator.store.put(Kind.NAMESPACE, namespace("shop", version=1))
    await clock.advance(HOUR)
    assert operator.ailments() == []
    task.cancel()


@asynccontextmanager
async def listing(operator: Operator, answer: Callable[[Kind], Any]) -> AsyncIterator[None]:
    """Its LISTs, answered so."""
    operator.relister._list_once = answer  # type: ignore[method-assign,assignment] # what an API server does
    task = asyncio.create_task(operator.relister.run())
    try:
        yield
    finally:
        task.cancel()


async def test_a_list_that_is_not_answered_is_given_up_and_asked_for_again() -> None:
    clock, asked = FakeClock(), 0
    operator = Operator(Settings(), clock)

    async def never(_: Kind) -> None:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()

    async with listing(operator, never):
        for _ in range(8):
            await clock.advance(LIST_SECONDS)
            assert operator.ailments() == []
        assert asked >= 6 * len(Kind)
        assert operator.relister.failures[Kind.POD] >= 6


async def test_lists_that_do_not_go_on_are_an_ailment(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    operator = Operator(Settings(), clock)

    async def at_once(_: Kind) -> None:
        pass

    async def stuck(event: asyncio.Event, *_: object) -> None:
        if event is operator.relister._requested[Kind.POD]:
            await asyncio.Event().wait()
        await clock.sleep(60.0)

    monkeypatch.setattr(relist, "wait_for", stuck)
    async with listing(operator, at_once):
        await clock.advance(operator._settings.relist_seconds + SLACK_SECONDS - 1)
        for kind in Kind:
            operator.signs.asked(kind)
        assert operator.ailments() == []
        await clock.advance(2.0)
        assert operator.ailments() == ["The LISTs of Pod objects do not go on."]


async def test_a_watch_that_does_nothing_is_an_ailment_while_the_api_server_answers() -> None:
    clock = FakeClock()
    operator = Operator(Settings(), clock)
    operator.watches.missing_since = None
    listed(operator)
    await clock.advance(SILENT_SECONDS + 1)
    # Nobody answers: it may be the API server.
    assert operator.ailments() == []
    operator.relister._listed_at = dict.fromkeys(Kind, clock.now())
    for kind in (Kind.POLICY, Kind.NAMESPACE, Kind.NODE):
        operator.signs.asked(kind)
    assert operator.ailments() == ["The watch of Pod objects has given no sign of life for long."]
    # That it asks is enough: whoever refuses it would refuse a new one.
    operator.signs.asked(Kind.POD)
    assert operator.ailments() == []


async def test_a_kind_counts_as_watched_from_its_first_event_or_while_a_watch_stays_open() -> None:
    clock = FakeClock()
    signed = Signs(clock)
    for _ in range(10):
        # Opened, and ended at once with an error.
        signed.ended(Kind.POD, signed.opened(Kind.POD))
        await clock.advance(1.0)
    assert signed.unwatched_seconds(Kind.POD) == 10.0
    number = signed.opened(Kind.POD)
    await clock.advance(STEADY_SECONDS)
    assert signed.unwatched_seconds(Kind.POD) == 0.0
    await clock.advance(HOUR)
    # The next has begun before this one is known to have ended.
    later = signed.opened(Kind.POD)
    signed.ended(Kind.POD, number)
    await clock.advance(1.0)
    assert signed.unwatched_seconds(Kind.POD) == 1.0
    await clock.advance(HOUR)
    assert signed.unwatched_seconds(Kind.POD) == 0.0
    signed.ended(Kind.POD, later)
    assert signed.unwatched_seconds(Kind.POD) == 0.0
    await clock.advance(3.0)
    assert signed.unwatched_seconds(Kind.POD) == 3.0
    number = signed.opened(Kind.POD)
    signed.heard(Kind.POD)
    signed.ended(Kind.POD, number)
    await clock.advance(2.0)
    assert signed.unwatched_seconds(Kind.POD) == 2.0


@pytest.mark.parametrize(
    ("what", "said"),
    [(Refuse(403), ": the API server answers 403."), (ErrorEvent(410), ".")],
    ids=["403", "opened only to be ended"],
)
@pytest.mark.parametrize("plural", ["pods", "networkpolicies.networking.k8s.io"])
async def test_an_operator_that_may_list_and_not_watch_is_not_ready_and_lives(
    server: ApiServer,
    faults: Faults,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    plural: str,
    what: Refuse | ErrorEvent,
    said: str,
) -> None:
    monkeypatch.setattr(operating, "UNWATCHED_SECONDS", 0.3)
    monkeypatch.setattr(signs, "STEADY_SECONDS", 0.2)
    monkeypatch.setattr(handlers, "ERROR_BACKOFFS", (0.05, 0.1))
    monkeypatch.setattr(handlers, "ANEW_SECONDS", 0.05)
    kind = "Pod" if plural == "pods" else "NetworkPolicy"
    async with operator_of(server, tmp_path) as running:
        unwatched = running.operator.signs.unwatched_seconds
        await eventually(lambda: not any(map(unwatched, DECIDING)))
        assert running.operator.reasons_not_ready() == []
        of_kind = Requests(verbs=frozenset({Verb.WATCH}), resource=plural)
        with faults.during(what, of_kind):
            faults.begin(Fault(Reset(), of_kind, times=0))
            await eventually(lambda: running.operator.reasons_not_ready() != [])
            status, text = await running.admin("/readyz")
            assert status == 503
            (line,) = text.splitlines()
            assert line.startswith(f"{kind} objects have not been watched for ")
            assert line.endswith(f" s{said}")
            assert await running.admin("/healthz") == (200, "ok\n")
        await eventually(lambda: running.operator.reasons_not_ready() == [])
        server.create(new(policy("late")))
        await eventually(lambda: len(running.operator.store.cluster().policies) == 1)


async def test_an_hour_without_an_api_server_is_no_ailment() -> None:
    """Everything is refused, by a clock of which an hour passes; the watches go by the computer's own."""
    clock = FakeClock()
    operator = Operator(Settings(), clock)
    listed(operator)
    operator.watches.missing_since = None

    async def refused(_: Kind) -> None:
        raise ConnectionRefusedError

    async with listing(operator, refused):
        glancing = asyncio.create_task(operator.watches._glance())
        for _ in range(60):
            await clock.advance(HOUR / 60)
            assert operator.ailments() == []
        glancing.cancel()
    assert any("have not been listed" in reason for reason in ready(operator))
    assert any("have not been watched" in reason for reason in ready(operator))
    assert operator.watches.missing_since is not None


async def test_a_blocked_event_loop_leaves_a_kubelet_without_an_answer(tmp_path: Path) -> None:
    """The handler runs in the loop that it tells of: nothing is said, and the kubelet's own timeout decides."""
    urls: list[str] = []
    blocked, go, there = threading.Event(), threading.Event(), threading.Event()

    async def live() -> None:
        operator = Operator(Settings(), FakeClock())
        stop = asyncio.Event()
        async with serving(
            HostPort("127.0.0.1", 0), health(operator, CollectorRegistry()), operator.hits
        ) as url:
            urls.append(url)
            loop = asyncio.get_running_loop()
            stops.append(lambda: loop.call_soon_threadsafe(stop.set))
            blocks.append(lambda: loop.call_soon_threadsafe(block))
            there.set()
            await stop.wait()

    def block() -> None:
        blocked.set()
        go.wait(10)

    stops: list[Callable[[], object]] = []
    blocks: list[Callable[[], object]] = []
    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    await asyncio.to_thread(there.wait, 10)
    try:
        async with ClientSession(timeout=ClientTimeout(0.3)) as client:
            async with client.get(urls[0] + "/healthz") as answer:
                assert answer.status == 200
            blocks[0]()
            await asyncio.to_thread(blocked.wait, 10)
            with pytest.raises(TimeoutError):
                await client.get(urls[0] + "/healthz")
            go.set()
            async with client.get(urls[0] + "/healthz") as answer:
                assert answer.status == 200
    finally:
        go.set()
        stops[0]()
        await asyncio.to_thread(thread.join, 10)
