"""A year's rotation in half a day: authority, certificate and token change, and no stream ends."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import grpc

from policy_controller.controller.api import OwnObject
from policy_controller.controller.identity import rotation
from policy_controller.controller.identity.authority import LEAF_RENEWED, Authority
from policy_controller.controller.identity.keeper import CHECK_SECONDS, NAME, Keeper
from policy_controller.controller.identity.rotation import ROTATED, SETTLED, Authorities
from policy_controller.controller.identity.tests.own_objects import FakeOwnObjects
from policy_controller.controller.tests.scripted_node import Door, ScriptedNode, node, open_stream
from policy_controller.controller.tests.serving import Served, silent
from policy_controller.controller.tests.test_sessions import desired
from policy_controller.controller.tests.waiting import eventually
from policy_controller.testing.credentials import NAMESPACE, SERVER_NAME
from policy_controller.wire.channel import HostPort, Trust
from policy_controller.wire.messages import DeltaMessage, FreshToken, SnapshotMessage

SECRET = OwnObject("secrets", NAMESPACE, NAME)
CONFIG_MAP = OwnObject("configmaps", NAMESPACE, NAME)
TURN = 1.5 * CHECK_SECONDS
TOKEN_SECONDS = 3_600.0
RENEWED_SECONDS = 2_880.0
"""kubelet: it renews a token when 80 % of its life have passed."""
UNTIL_DUE = timedelta(hours=4)
AGO = timedelta(hours=8)
"""The fake day begins so long ago that every handshake of the test is at a time at which real TLS finds it good."""


class Installed:
    """The operator's own end, and what enforcers can read."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.api = FakeOwnObjects()
        old = Authorities(Authority.new(served.began - ROTATED + UNTIL_DUE))
        self.api._write(SECRET, {"metadata": {}, "data": rotation.written(old)})
        self.keeper = Keeper(self.api, NAMESPACE, served.clock, served.today)

    def door(self) -> Door:
        """The way in for an enforcer that reads its files now."""
        bundle: str = self.api.trees[CONFIG_MAP]["data"]["ca.crt"]
        address = HostPort("127.0.0.1", self.served.server.port)
        mint = self.served.reviews.mint
        return Door(
            address, Trust(bundle.encode(), SERVER_NAME), lambda name: mint(name, seconds=TOKEN_SECONDS)
        )

    def _is_known(self, token: str) -> bool:
        return token in self.served.reviews.asked

    async def pass_time(self, nodes: Sequence[ScriptedNode], seconds: float) -> int:
        """The clock moves, and the nodes show each token that their kubelets bring; returns how many."""
        shown, until = 0, self.served.clock.now() + seconds
        while (left := until - self.served.clock.now()) > 0:
            await self.served.clock.advance(min(RENEWED_SECONDS, left))
            for one in nodes:
                token = self.served.reviews.mint(one.name, seconds=TOKEN_SECONDS)
                await one.say(FreshToken(token))
                await eventually(partial(self._is_known, token))
                shown += 1
        return shown


async def goes_on(served: Served, one: ScriptedNode, number: int) -> None:
    served.streams.desire(one.name, desired(number))
    assert isinstance(await one.apply(), DeltaMessage)
    # The clock must not move while an answer is under way.
    await eventually(lambda: served.streams.statuses()[one.name].current)


async def begun(served: Served, one: ScriptedNode) -> None:
    await served.connected(one.name)
    served.streams.desire(one.name, desired(1))
    assert isinstance(await one.apply(), SnapshotMessage)
    await eventually(lambda: served.streams.statuses()[one.name].current)


async def test_a_rotated_authority_certificate_and_token_keep_every_stream(
    record_property: Callable[[str, object], None],
) -> None:
    async with silent(datetime.now(UTC) - AGO) as served:
        installed = Installed(served)
        keeper = installed.keeper
        running = asyncio.create_task(keeper.run())
        await eventually(keeper.ready.is_set)
        await served.server.start(HostPort("127.0.0.1", 0), keeper.certificate)
        before, certificate = installed.door(), keeper.certificate()
        async with node(before, "node-a") as one:
            await begun(served, one)

            # Another authority is published, and the one before it goes on signing.
            tokens = await installed.pass_time([one], UNTIL_DUE.total_seconds() + TURN)
            between = installed.door()
            assert between.trust.authorities.endswith(before.trust.authorities)
            assert between.trust != before.trust
            assert keeper.certificate() == certificate
            await goes_on(served, one, 2)
            async with node(before, "node-b") as late, node(between, "node-c") as early:
                await begun(served, late)
                await begun(served, early)

                # It signs. Who has read the bundle meanwhile is served; who was served goes on, whatever it has read.
                tokens += await installed.pass_time([one, late, early], SETTLED.total_seconds() + TURN)
                assert keeper.certificate() != certificate
                for stream, number in ((one, 3), (late, 2), (early, 2)):
                    await goes_on(served, stream, number)
            async with node(installed.door(), "node-d") as fresh:
                await begun(served, fresh)
            async with open_stream(before) as refused:
                error = await ScriptedNode("node-e", refused).ending()
                assert error.code() is grpc.StatusCode.UNAVAILABLE

            # The certificate is renewed by the same authority.
            renewed = keeper.certificate()
            tokens += await installed.pass_time([one], LEAF_RENEWED.total_seconds() + TURN)
            assert keeper.certificate() != renewed
            await goes_on(served, one, 4)
        assert served.server.refused == {}
        running.cancel()
    record_property("tokens renewed on a stream that outlived two certificates and an authority", tokens)
