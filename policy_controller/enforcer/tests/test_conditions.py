"""What goes away at run time is said within a second, and that it is back."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial

import pytest
from pyroute2 import IPRoute

from policy_controller.enforcer.conditions import (
    LINKS_SECONDS,
    LOOK_SECONDS,
    Conditions,
    KernelLinkNews,
)
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.preflight import Finding, Weight, findings
from policy_controller.enforcer.surroundings import BRIDGE_CALLS, BRIDGE_SETTINGS, bridge_calls, look_around
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.namespaces import PrivateNamespace

OFF = Finding(Weight.NOT_READY, "net.bridge.bridge-nf-call-iptables is off")
IPVS = Finding(Weight.NOT_READY, "kube-proxy runs in IPVS mode")


class Surroundings:
    """What there is to be seen, and how often it was looked at."""

    def __init__(self) -> None:
        self.sysctls: object = 1
        self.news = False
        self.found: tuple[Finding, ...] = ()
        self.looks = 0
        self.error: OSError | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    def any(self) -> bool:
        news, self.news = self.news, False
        return news

    async def look(self) -> tuple[Finding, ...]:
        self.looks += 1
        await self.answering.wait()
        if self.error is not None:
            raise self.error
        return self.found


class Lab:
    def __init__(self) -> None:
        self.around, self.clock, self.metrics = Surroundings(), FakeClock(), Metrics()
        self.conditions = Conditions(
            self.around.look, lambda: self.around.sysctls, self.around, self.metrics, self.clock
        )

    def counted(self, number: int) -> bool:
        return f"policy_enforcer_conditions_missing {number}.0\n" in self.metrics.text().decode()


@asynccontextmanager
async def watching() -> AsyncIterator[Lab]:
    lab = Lab()
    task = asyncio.create_task(lab.conditions.watch())
    await lab.clock.advance(0)
    try:
        yield lab
    finally:
        task.cancel()


async def test_a_sysctl_that_changes_is_seen_at_the_next_look_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with watching() as lab:
        lab.around.sysctls, lab.around.found = 0, (OFF,)
        await lab.clock.advance(LOOK_SECONDS)
        assert lab.conditions.missing == (OFF,)
        assert lab.counted(1)
        await lab.clock.advance(100)
        lab.around.sysctls, lab.around.found = 1, ()
        await lab.clock.advance(LOOK_SECONDS)
        assert not lab.conditions.missing
        assert lab.counted(0)
    told = [(record.levelname, record.message) for record in caplog.records]
    assert told == [("ERROR", OFF.sentence), ("INFO", f"mended: {OFF.sentence}")]


async def test_links_are_looked_at_when_there_is_news_of_them_and_not_too_often() -> None:
    async with watching() as lab:
        await lab.clock.advance(100)
        assert lab.around.looks == 1
        lab.around.news, lab.around.found = True, (IPVS,)
        await lab.clock.advance(LOOK_SECONDS)
        assert lab.conditions.missing == (IPVS,)
        for _ in range(100):
            lab.around.news = True
            await lab.clock.advance(0.1)
        assert lab.around.looks <= 10 / LINKS_SECONDS + 3


async def test_what_was_missing_at_the_start_is_not_said_again(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab()
    lab.around.found = (OFF,)
    task = asyncio.create_task(lab.conditions.watch())
    await lab.clock.advance(1)
    task.cancel()
    assert lab.conditions.missing == (OFF,)
    assert lab.counted(1)
    assert caplog.records == []


async def test_a_look_that_does_not_end_is_late_until_it_does() -> None:
    async with watching() as lab:
        await lab.clock.advance(100)
        assert lab.conditions.late_seconds() == 0.0
        lab.around.answering.clear()
        lab.around.news = True
        await lab.clock.advance(LOOK_SECONDS)
        await lab.clock.advance(60)
        assert 59 < lab.conditions.late_seconds() <= 60
        lab.around.answering.set()
        await lab.clock.advance(LOOK_SECONDS)
        assert lab.conditions.late_seconds() == 0.0


async def test_a_node_that_cannot_be_looked_at_is_not_all_right() -> None:
    async with watching() as lab:
        lab.around.error, lab.around.news = OSError(errno.ENOBUFS, "No buffer space available"), True
        await lab.clock.advance(LINKS_SECONDS + LOOK_SECONDS)
        (one,) = lab.conditions.missing
        assert one.sentence == "the node cannot be looked at: [Errno 105] No buffer space available"
        lab.around.error = None
        await lab.clock.advance(LINKS_SECONDS + LOOK_SECONDS)
        assert not lab.conditions.missing


def _bridge(name: str) -> None:
    with IPRoute() as route:
        route.link("add", ifname=name, kind="bridge")


def _switch(value: str) -> None:
    (BRIDGE_SETTINGS / BRIDGE_CALLS[0]).write_text(value)


@pytest.mark.kernel
def test_the_kernel_tells_of_links_and_has_the_sysctls_of_this_namespace() -> None:
    with PrivateNamespace() as network, closing(network.run(KernelLinkNews)) as news:
        assert not news.any()
        network.run(lambda: _bridge("cni0"))
        assert news.any()
        assert not news.any()
        for value, expected in (("0", 1), ("1", 0)):
            network.run(partial(_switch, value))
            calls = network.run(bridge_calls)
            assert calls is not None
            assert calls[BRIDGE_CALLS[0]] == int(value)
            missing = findings(network.run(look_around), ("cni0",))
            assert len([one for one in missing if BRIDGE_CALLS[0] in one.sentence]) == expected
