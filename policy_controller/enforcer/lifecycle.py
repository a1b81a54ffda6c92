"""The life of an enforcer: what is started in which order, what ends it, and that its end leaves the rules.

Knows how the parts are put together. Knows nothing of flags.
"""

import asyncio
import logging
import signal
from collections.abc import Coroutine
from random import SystemRandom
from typing import Any, Final

from compilers.nftables.base import Base
from compilers.nftables.transaction import Nft
from policy_controller.clock import SystemClock
from policy_controller.enforcer.bounds import Bound
from policy_controller.enforcer.commits import KernelCommits
from policy_controller.enforcer.conditions import Conditions, KernelLinkNews
from policy_controller.enforcer.conntrack import Connections
from policy_controller.enforcer.disk import StateDirectory
from policy_controller.enforcer.enforcement import Enforcement
from policy_controller.enforcer.gates import Knowledge
from policy_controller.enforcer.health import Health, serving, steps_of
from policy_controller.enforcer.interfaces import Link
from policy_controller.enforcer.kernel import Kernel
from policy_controller.enforcer.late_interfaces import late_findings, until_late
from policy_controller.enforcer.link_news import follow_links
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.preflight import Finding, findings
from policy_controller.enforcer.reach import Reach
from policy_controller.enforcer.reports import Reports
from policy_controller.enforcer.residence import LinkedNamespaces
from policy_controller.enforcer.saving import Saving
from policy_controller.enforcer.session import Session
from policy_controller.enforcer.settings import Settings
from policy_controller.enforcer.stream import follow
from policy_controller.enforcer.surroundings import bridge_calls, look_around
from policy_controller.enforcer.tampering import Tampering
from policy_controller.enforcer.telling import Telling

log = logging.getLogger(__name__)

STOPS: Final = (signal.SIGTERM, signal.SIGINT)


async def live(
    settings: Settings, pod_interfaces: tuple[str, ...], nft: Nft, connections: Connections, base: Base
) -> int:
    """Enforce until a signal comes; returns the exit code, 1 when a part has ended by itself or a new start is needed.

    Raises ListenError when the address of health and metrics cannot be listened on.
    """
    clock, metrics = SystemClock(), Metrics()
    reach = Reach(metrics)
    kernel = Kernel(nft, connections, LinkedNamespaces(pod_interfaces), base, clock)
    session = Session(settings.node)
    enforcement = Enforcement(kernel, base, session, settings.gates, clock, metrics)
    saving = Saving(StateDirectory(settings.state_directory), settings.node, clock, metrics)

    reports = Reports(clock)
    metrics.hits.read(Bound.REPORTS, lambda: reports.merged)
    commits = KernelCommits()
    tampering = Tampering(
        commits,
        kernel,
        enforcement,
        Telling(reports, metrics, clock),
        clock,
        settings.compare_seconds,
        SystemRandom(),
    )

    parts: dict[str, asyncio.Task[Any]] = {}

    async def enforce() -> None:
        await enforcement.adopt(await saving.read())
        work: dict[str, Coroutine[Any, Any, None]] = {
            "keep the gates for unknown addresses": enforcement.keep_gates(),
            "cut connections that are denied": enforcement.cutting.run(),
            "hear of links": follow_links(enforcement.note_links),
            "hear of others who change the tables": tampering.run(),
            "save what is in force": saving.keep(enforcement.committed, lambda: enforcement.to_save),
            "follow the operator": follow(settings.way, enforcement, reach, reports, clock, SystemRandom()),
        }
        async with asyncio.TaskGroup() as group:
            for what, one in work.items():
                parts[what] = group.create_task(one, name=what)

    detected = settings.pod_interfaces is None

    async def look() -> tuple[Finding, ...]:
        around = await asyncio.to_thread(look_around)
        late = late_findings(around.links, pod_interfaces) if detected else ()
        return (*findings(around, pod_interfaces), *late)

    async def links() -> tuple[Link, ...]:
        return (await asyncio.to_thread(look_around)).links

    async def detect_again() -> None:
        late = await until_late(pod_interfaces, links, clock)
        log.error("pods are met on %s as well: ending, so that a new start detects it", ", ".join(late))

    async def missing() -> tuple[Finding, ...]:
        return conditions.missing

    news = KernelLinkNews()
    conditions = Conditions(look, bridge_calls, news, metrics, clock)
    stop = asyncio.Event()
    for number in STOPS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    enforcing, stopping = asyncio.create_task(enforce()), asyncio.create_task(stop.wait())
    watching = asyncio.create_task(conditions.watch())
    parts |= {"enforce": enforcing, "look at the node": watching}
    tasks: list[asyncio.Task[Any]] = [enforcing, stopping, watching]
    if detected:
        tasks.append(asyncio.create_task(detect_again()))
    health = Health(
        enforcement,
        kernel,
        reach,
        saving,
        lambda: tampering.trouble,
        metrics,
        missing,
        parts,
        steps_of(enforcement, conditions.late_seconds, tampering.late_seconds),
    )
    try:
        async with serving(health, settings.listen):
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended - {stopping}:
            log.error("the enforcer ends by itself; the rules stay", exc_info=task.exception())
        return int(stopping not in ended)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await enforcement.finish()
        await saving.finish(enforcement.to_save)
        await asyncio.to_thread(kernel.close)
        commits.close()
        news.close()


async def restore(
    settings: Settings, pod_interfaces: tuple[str, ...], nft: Nft, connections: Connections, base: Base
) -> bool:
    """Put in force what was saved, where the kernel knows no pod, and end; whether it stands, or nothing was saved."""
    clock, metrics = SystemClock(), Metrics()
    session = Session(settings.node)
    saving = Saving(StateDirectory(settings.state_directory), settings.node, clock, metrics)
    kernel = Kernel(nft, connections, LinkedNamespaces(pod_interfaces), base, clock)
    enforcement = Enforcement(kernel, base, session, settings.gates, clock, metrics)
    try:
        saved = await saving.read()
        if saved is None:
            if not saving.refused:
                log.info("nothing was saved in %s", settings.state_directory)
            return not saving.refused
        await enforcement.adopt(saved)
        return session.knowledge is not Knowledge.NOTHING
    finally:
        saving.close()
        await asyncio.to_thread(kernel.close)
