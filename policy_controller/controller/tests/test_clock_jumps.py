"""The operator's time of day jumps, by more than an hour, both ways: streams, tokens and certificates go on.

What waits goes by a clock that no administrator sets (policy_controller/clock.py), and a test sees to it that nothing else asks for
the time of day. TLS is real: the nodes' own clock is the right one.
"""

import ast
import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

import policy_controller
from policy_controller.controller.identity.keeper import CHECK_SECONDS, Keeper
from policy_controller.controller.identity.reviewer import FRESH_SECONDS, Enforcers, Reviewer
from policy_controller.controller.identity.tests.own_objects import FakeOwnObjects
from policy_controller.controller.server import EnforcementServer
from policy_controller.controller.store import Store
from policy_controller.controller.streams import NodeStreams
from policy_controller.controller.tests.scripted_node import Door, ScriptedNode, node
from policy_controller.controller.tests.test_sessions import desired
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.clock import FakeClock
from policy_controller.testing.credentials import NAMESPACE, SERVER_NAME, FakeReviews
from policy_controller.wire.channel import Certificate, HostPort, Trust
from policy_controller.wire.messages import DeltaMessage, SnapshotMessage

Record = Callable[[str, object], None]

JUMP: Final = timedelta(hours=1, minutes=5)
TURN: Final = 1.5 * CHECK_SECONDS
BUNDLE: Final = "ca.crt"
TOKEN_SECONDS: Final = 3_600.0


@dataclass
class Jumping:
    """A servicer whose time of day can be set, beside an API server and nodes with the right one."""

    ahead: timedelta = timedelta()
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    clock: FakeClock = field(default_factory=FakeClock)
    api: FakeOwnObjects = field(default_factory=FakeOwnObjects)
    streams: NodeStreams = field(default_factory=NodeStreams)

    def __post_init__(self) -> None:
        self.reviews = FakeReviews(self._right)
        enforcers = Enforcers(NAMESPACE, "policy-enforcer")
        self.reviewer = Reviewer(self.reviews, Store(), enforcers, self.clock, self.today)
        self.server = EnforcementServer(self.streams, self.reviewer, self.clock)
        self.tokens: dict[str, str] = {}

    def certificate(self) -> Certificate:
        """That of the operator that began last."""
        return self.keeper.certificate()

    async def begin_anew(self) -> None:
        """The certificate is that of an operator that starts now."""
        self.keeper = Keeper(self.api, NAMESPACE, self.clock, self.today)
        self.keeping = asyncio.create_task(self.keeper.run())
        await eventually(self.keeper.ready.is_set)

    def _right(self) -> float:
        return (self.began + timedelta(seconds=self.clock.now())).timestamp()

    def today(self) -> datetime:
        """By the operator's clock."""
        return self.began + timedelta(seconds=self.clock.now()) + self.ahead

    def token_of(self, name: str) -> str:
        return self.tokens.setdefault(name, self.reviews.mint(name, seconds=TOKEN_SECONDS))

    @property
    def door(self) -> Door:
        """The way in for an enforcer that has read the ConfigMap."""
        (bundle,) = (
            tree["data"][BUNDLE]
            for tree in self.api.trees.values()
            if BUNDLE in tree["data"] and "ca.key" not in tree["data"]
        )
        trust = Trust(bundle.encode(), SERVER_NAME)
        return Door(HostPort("127.0.0.1", self.server.port), trust, self.token_of)

    async def pass_time(self, seconds: float) -> None:
        """The clock moves, and what is under way over the network gets through."""
        await self.clock.advance(seconds)
        await asyncio.sleep(0.05)

    async def served(self, one: ScriptedNode, number: int) -> None:
        """The node is told of a state, and has it."""
        await eventually(lambda: one.name in self.streams.nodes)
        self.streams.desire(one.name, desired(number))
        message = await one.apply()
        assert isinstance(message, DeltaMessage if number > 1 else SnapshotMessage)
        await eventually(lambda: self.streams.statuses()[one.name].current)


WAYS = {
    "ahead": (JUMP, timedelta()),
    "behind": (-JUMP, timedelta()),
    "to and fro": (JUMP, -JUMP, timedelta()),
}


@pytest.mark.parametrize("jumps", WAYS.values(), ids=list(WAYS))
async def test_streams_tokens_and_certificates_survive_jumps_of_the_time_of_day(
    jumps: tuple[timedelta, ...], record_property: Record
) -> None:
    at = Jumping()
    await at.begin_anew()
    await at.server.start(HostPort("127.0.0.1", 0), at.certificate)
    try:
        authorities = at.door.trust.authorities
        async with node(at.door, "node-a") as one:
            await at.served(one, 1)
            for number, ahead in enumerate(jumps, start=2):
                at.ahead = ahead
                # Certificates are seen to; one that a new operator shows is signed by that time of day.
                await at.pass_time(TURN)
                await at.begin_anew()
                asked = len(at.reviews.asked)
                await at.pass_time(FRESH_SECONDS)
                assert len(at.reviews.asked) > asked
                await at.served(one, number)
                async with node(at.door, f"node-{number}") as fresh:
                    await at.served(fresh, 1)
                # The API server's last word on a token holds while it is away.
                at.reviews.answering = False
                await at.pass_time(FRESH_SECONDS - TURN)
                async with node(at.door, f"node-{number}") as again:
                    await at.served(again, 1)
                at.reviews.answering = True
            assert one.name in at.streams.nodes
        assert at.door.trust.authorities == authorities
        assert at.server.refused == {}
    finally:
        at.keeping.cancel()
        await at.server.stop()
    record_property("jumps of the operator's time of day by 65 minutes", len(jumps))


def test_a_clock_that_is_behind_makes_no_token_good_for_longer_than_it_was_given() -> None:
    at = Jumping(ahead=-JUMP)
    token = at.reviews.mint("node-a", seconds=600.0)
    assert at.reviewer._holds_until(token) <= 600.0


DATES: Final = {
    "controller/identity/dates.py": "what certificates and tokens are dated by",
    "controller/events.py": "the date of an Event",
    "controller/node_events.py": "the date of an Event",
    "enforcer/telling.py": "the date of what others did",
}
"""Who may ask for the time of day, and for what; a log line's is in its record."""
ROOT: Final = Path(policy_controller.__file__).parent
SHELLS: Final = ("controller", "enforcer", "wire", "logs", "settings")


def asks_for_the_time_of_day(tree: ast.Module) -> Iterator[ast.expr]:
    for each in ast.walk(tree):
        match each:
            case ast.Attribute(value=ast.Name(id="time"), attr="time" | "time_ns" | "localtime" | "gmtime"):
                yield each
            case ast.Attribute(attr="utcnow" | "today"):
                yield each
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="datetime") | ast.Attribute(attr="datetime"), attr="now")
            ):
                yield each


def test_nothing_but_dates_goes_by_the_time_of_day() -> None:
    """Waits, limits of rates, retries, reviews of tokens and liveness cannot be moved by it."""
    asking = {
        str(path.relative_to(ROOT))
        for shell in SHELLS
        for path in (ROOT / shell).rglob("*.py")
        if "tests" not in path.parts and any(asks_for_the_time_of_day(ast.parse(path.read_text())))
    }
    assert asking == DATES.keys()
