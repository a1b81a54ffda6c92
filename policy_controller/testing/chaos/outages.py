"""Faults that keep news from nodes: programs that end, an API server that fails, streams that break.

A table by kind. Nothing that is known may open or close meanwhile, so none of them opens a window by itself.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final

from policy_controller.testing.api_server.faults import (
    Disorder,
    End,
    ErrorEvent,
    Events,
    Fault,
    HalfList,
    Hang,
    Refuse,
    Requests,
    Reset,
    StaleList,
    Verb,
    What,
)
from policy_controller.testing.chaos.knocking import Rest
from policy_controller.testing.chaos.plan import Kind
from policy_controller.testing.chaos.scene import NO_TABLES, POLL_SECONDS, Scene
from policy_controller.testing.installation.installation import Ending, enforcer_of

Done = Callable[[Scene, Random], Awaitable[None]]

AGENTS: Final = ("kopf", "kr8s")
"""What the operator's clients call themselves."""
STATUSES: Final = (401, 403, 410, 429, 500, 503)
RESOURCES: Final = ("networkpolicies.networking.k8s.io", "pods", "namespaces")
STATE: Final = "var/lib/policy-controller/rule-set"
CUT: Final = "inet chaos-cut"
PORT: Final = 9473
GRACE_SECONDS: Final = 3.0


def ending(names: Callable[[Scene, Random], tuple[str, ...]], how: Ending) -> Done:
    """Programs end, are away for a moment, and begin again."""

    async def done(scene: Scene, rng: Random) -> None:
        chosen = names(scene, rng)
        for name in chosen:
            await _end(scene, name, how)
        await asyncio.sleep(rng.uniform(0, 0.6))
        for name in chosen:
            await scene.installation.begin(name)

    return done


async def _end(scene: Scene, name: str, how: Ending) -> None:
    """As a kubelet does it: a program that has only just begun has not yet asked for signals, and is killed after a grace."""
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            await scene.installation.end(name, how)
    except TimeoutError:
        await scene.installation.end(name, Ending.KILL)


def _operator(scene: Scene, rng: Random) -> tuple[str, ...]:
    return (scene.some_operator(rng),)


def _operators(scene: Scene, _: Random) -> tuple[str, ...]:
    return scene.installation.operators()


def _enforcer(scene: Scene, rng: Random) -> tuple[str, ...]:
    return (scene.some_enforcer(rng),)


async def kill_applying(scene: Scene, rng: Random) -> None:
    """A policy changes, and an enforcer is killed about when it hears of that."""
    name = scene.some_enforcer(rng)
    await scene.town.touch_policy(rng)
    await asyncio.sleep(rng.uniform(0, 0.06))
    await scene.installation.end(name, Ending.KILL)
    await scene.installation.begin(name)


def pausing(names: Callable[[Scene, Random], tuple[str, ...]]) -> Done:
    """A program does not run for a while, and knows nothing of it."""

    async def done(scene: Scene, rng: Random) -> None:
        # A signal that finds no program would stop what is about to start one.
        chosen = [name for name in names(scene, rng) if scene.installation.is_running(name)]
        for name in chosen:
            scene.installation.send_signal(name, signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        for name in chosen:
            scene.installation.send_signal(name, signal.SIGCONT)

    return done


async def lag(scene: Scene, rng: Random) -> None:
    """One operator does not run, the other is killed; the first goes on with what it knew, and has all nodes."""
    running = [name for name in scene.installation.operators() if scene.installation.is_running(name)]
    if not running:
        return
    first = rng.choice(running)
    others = [name for name in scene.installation.operators() if name != first]
    scene.installation.send_signal(first, signal.SIGSTOP)
    await scene.town.touch_policy(rng)
    await asyncio.sleep(rng.uniform(0.1, 1))
    for name in others:
        await scene.installation.end(name, Ending.KILL)
    scene.installation.send_signal(first, signal.SIGCONT)
    for name in others:
        await scene.installation.begin(name)


async def restart_node(scene: Scene, rng: Random) -> None:
    """A node restarts: its pods stand still, its tables and connections are gone, its operators end, and its disk stays.

    What is on its disk is the last word only when its enforcer has heard it, and was asked to end.
    """
    node = scene.some_node(rng)
    name = enforcer_of(node)
    await scene.works()
    scene.journal.storm()
    await scene.alive(name)
    here = [number for number, lodger in scene.town.lodgers.items() if lodger.resident.node == node]
    operators = [one for one in scene.installation.operators() if scene.installation.node_of(one) == node]
    await scene.knocking.tell(Rest(tuple(here)))
    await scene.installation.end(name, Ending.TERM)
    for operator in operators:
        await scene.installation.end(operator, Ending.KILL)
    await scene.nft(node, NO_TABLES)
    await asyncio.to_thread(scene.installation.forget_connections, node)
    await scene.installation.begin(name)
    await scene.alive(name)
    await scene.knocking.tell(Rest(()))
    for operator in operators:
        await scene.installation.begin(operator)


def with_file(spoil: Callable[[bytes, Random], bytes | None]) -> Done:
    """An enforcer is killed, and finds another file than it wrote; None: none."""

    async def done(scene: Scene, rng: Random) -> None:
        node = scene.some_node(rng)
        path = scene.directory / "disks" / node / STATE
        await scene.installation.end(enforcer_of(node), Ending.KILL)
        if path.exists():
            content = spoil(path.read_bytes(), rng)
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
        await scene.installation.begin(enforcer_of(node))

    return done


def failing(what: Callable[[Random], What]) -> Done:
    """The API server fails the operators for a while, and what stands ends so that they ask again."""

    async def done(scene: Scene, rng: Random) -> None:
        seconds = rng.uniform(0.5, 2.5)
        for agent in AGENTS:
            await scene.api.go_wrong(Fault(what(rng), Requests(agent=agent), seconds=seconds))
            await scene.api.go_wrong(Fault(End(), Requests(agent=agent), times=0))

    return done


async def hang(scene: Scene, rng: Random) -> None:
    """The API server takes requests and answers none, until its connections are cut, as when somebody restarts it."""
    seconds = rng.uniform(0.5, 2)
    for agent in AGENTS:
        await scene.api.go_wrong(Fault(Hang(), Requests(agent=agent), seconds=seconds))
        await scene.api.go_wrong(Fault(End(), Requests(agent=agent), times=0))
    await asyncio.sleep(seconds + POLL_SECONDS)
    scene.installation.cut_api_connections()


def at_once(what: What) -> Done:
    """Open watches end in some way."""

    async def done(scene: Scene, _: Random) -> None:
        for agent in AGENTS:
            await scene.api.go_wrong(Fault(what, Requests(frozenset({Verb.WATCH}), agent=agent), times=0))

    return done


def listed(what: What) -> Done:
    """Watches are told that their version is too old, and what is listed then is wrong once."""

    async def done(scene: Scene, rng: Random) -> None:
        resource = rng.choice(RESOURCES)
        for agent in AGENTS:
            lists = Requests(frozenset({Verb.LIST}), resource, agent=agent)
            await scene.api.go_wrong(Fault(what, lists, times=1, seconds=5))
            watches = Requests(frozenset({Verb.WATCH}), resource, agent=agent)
            await scene.api.go_wrong(Fault(ErrorEvent(410), watches, times=0))

    return done


def disordered(how: Disorder) -> Done:
    """Events are lost, repeated or swapped, while something changes that they should tell."""

    async def done(scene: Scene, rng: Random) -> None:
        resource = rng.choice(RESOURCES)
        requests = Requests(frozenset({Verb.WATCH}), resource)
        await scene.api.go_wrong(Fault(Events(how), requests, times=rng.randint(1, 4), seconds=1.5))
        await scene.town.touch_policy(rng)

    return done


def cutting(rule: str) -> Done:
    """A node's way to the operators is closed for a while."""

    async def done(scene: Scene, rng: Random) -> None:
        node = scene.some_node(rng)
        hook = "type filter hook output priority 0; policy accept;"
        await scene.nft(node, f"table {CUT} {{ chain out {{ {hook} tcp dport {PORT} {rule}; }}; }}")
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        await scene.nft(node, f"delete table {CUT}")

    return done


def _half(content: bytes, rng: Random) -> bytes:
    return content[: rng.randrange(len(content))] if content else content


TABLE: Final[Mapping[Kind, Done]] = {
    Kind.OPERATOR_KILLED: ending(_operator, Ending.KILL),
    Kind.OPERATOR_TERMINATED: ending(_operator, Ending.TERM),
    Kind.ALL_OPERATORS_KILLED: ending(_operators, Ending.KILL),
    Kind.ENFORCER_KILLED: ending(_enforcer, Ending.KILL),
    Kind.ENFORCER_TERMINATED: ending(_enforcer, Ending.TERM),
    Kind.ENFORCER_KILLED_APPLYING: kill_applying,
    Kind.ENFORCER_PAUSED: pausing(_enforcer),
    Kind.NODE_RESTARTED: restart_node,
    Kind.SAVED_TRUNCATED: with_file(_half),
    Kind.SAVED_REMOVED: with_file(lambda _, __: None),
    Kind.API_REFUSES: failing(lambda rng: Refuse(rng.choice(STATUSES))),
    Kind.API_HANGS: hang,
    Kind.API_RESETS: failing(lambda _: Reset()),
    Kind.WATCHES_END: at_once(End()),
    Kind.WATCHES_EXPIRE: at_once(ErrorEvent(410)),
    Kind.HALF_LIST: listed(HalfList()),
    Kind.STALE_LIST: listed(StaleList(1)),
    Kind.EVENTS_LOST: disordered(Disorder.LOST),
    Kind.EVENTS_REPEATED: disordered(Disorder.REPEATED),
    Kind.EVENTS_SWAPPED: disordered(Disorder.SWAPPED),
    Kind.REPLICA_LAGS: lag,
    Kind.STREAM_CUT: cutting("reject with tcp reset"),
    Kind.STREAM_SLOW: cutting("limit rate over 20/second drop"),
}
