"""The servicer behind real TLS, with an API server's word on tokens from memory.

Knows the parts that serve nodes. Knows nothing of clusters.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from policy_controller.controller.identity.reviewer import Enforcers, Reviewer
from policy_controller.controller.server import EnforcementServer
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStreams
from policy_controller.controller.tests.scripted_node import Door
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.credentials import NAMESPACE, Authority, FakeReviews
from policy_controller.wire.channel import HostPort


@dataclass
class Served:
    """A servicer that listens, and the time and the API server that it goes by."""

    streams: NodeStreams
    reviewer: Reviewer
    server: EnforcementServer
    clock: FakeClock
    reviews: FakeReviews
    authority: Authority
    began: datetime

    def today(self) -> datetime:
        """The time of day, which passes with the clock."""
        return self.began + timedelta(seconds=self.clock.now())

    @property
    def door(self) -> Door:
        """The way in, for those who trust the authority and whose tokens are good."""
        return Door(HostPort("127.0.0.1", self.server.port), self.authority.trust(), self.reviews.mint)

    async def connected(self, name: str) -> None:
        """Returns once the node has said hello."""
        await eventually(lambda: name in self.streams.nodes)


@asynccontextmanager
async def silent(began: datetime) -> AsyncIterator[Served]:
    """It does not listen yet; ends what does at the end."""
    clock, streams = FakeClock(), NodeStreams()
    reviews = FakeReviews(lambda: began.timestamp() + clock.now())
    enforcers = Enforcers(NAMESPACE, "policy-enforcer")
    reviewer = Reviewer(reviews, Store(), enforcers, clock, lambda: began + timedelta(seconds=clock.now()))
    server = EnforcementServer(streams, reviewer, clock)
    try:
        yield Served(streams, reviewer, server, clock, reviews, Authority(), began)
    finally:
        await server.stop()


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    """It listens, with a certificate of its authority."""
    async with silent(datetime.now(UTC)) as served:
        certificate = served.authority.certificate()
        await served.server.start(HostPort("127.0.0.1", 0), lambda: certificate)
        yield served
