"""What `policyctl wait` promises, with packets: once it has returned, nothing passes that the policy denies, and all it admits does.

API server, operator and enforcers are processes, and it comes to the operator as anybody does, through a port-forward.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from policy_controller.cli.main import main
from policy_controller.testing.extent import Extent
from policy_controller.testing.installation.tests.town import NAMESPACE, TCP_PORT, UDP_PORT, Town
from policy_controller.testing.laboratory import NetworkKind
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, Prober, Transport

pytestmark = [pytest.mark.packets, pytest.mark.timeout(900)]

Record = Callable[[str, object], None]
Json = dict[str, Any]

WEB: Final = {"podSelector": {"matchLabels": {"app": "web"}}}
SILENCE_SECONDS: Final = 0.15
SAME_PORT: Final = 9_999
ROUNDS_WITHOUT: Final = 5


class Street:
    """From web to api, which are on two nodes and which a policy admits: packets that pass, and those that do not."""

    def __init__(self, town: Town, prober: Prober) -> None:
        self.town = town
        self._prober = prober
        web, api = (town.laboratory.pods[name] for name in ("web", "api"))
        prober.listen(Listener(api.namespace, api.name, (TCP_PORT,), (UDP_PORT,)))
        self._ports = itertools.count(10_000)
        self._probes = [
            Probe(Endpoint(web.namespace, here), there, transport, port)
            for here, there in zip(web.addresses, api.addresses, strict=True)
            for transport, port in ((Transport.TCP, TCP_PORT), (Transport.UDP, UDP_PORT))
        ]

    async def seen(self, rounds: int = 3) -> Counter[Outcome]:
        """What becomes of packets that are sent now, and soon after."""
        found: Counter[Outcome] = Counter()
        for _ in range(rounds):
            # A packet from a port that an admitted one came from a while ago belongs to that connection, which goes on.
            probes = [replace(probe, source_port=next(self._ports)) for probe in self._probes]
            found.update(one.outcome for one in await self._prober.run(probes, timeout=SILENCE_SECONDS))
        return found

    async def seen_again(self) -> Counter[Outcome]:
        """What becomes of datagrams that all come from the same ports, whenever they are asked for."""
        probes = [
            replace(probe, source_port=SAME_PORT)
            for probe in self._probes
            if probe.transport is Transport.UDP
        ]
        return Counter(one.outcome for one in await self._prober.run(probes, timeout=SILENCE_SECONDS))

    async def admit(self, app: str) -> None:
        """An edit of the policy that admits somebody to api, on the node of api."""
        peers = [{"podSelector": {"matchLabels": {"app": app}}}]
        await self.town.api.patch(
            "NetworkPolicy", NAMESPACE, "into-api", {"spec": {"ingress": [{"from": peers}]}}
        )

    async def close(self, number: int) -> str:
        """A new policy that keeps web from sending, on the node of web; its name."""
        name = f"close-{number}"
        spec = {**WEB, "policyTypes": ["Egress"], "egress": []}
        await self.town.api.create(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"namespace": NAMESPACE, "name": name},
                "spec": spec,
            }
        )
        return name

    async def wait(self, name: str) -> None:
        words = ("wait", f"--kubeconfig={self.town.installation.kubeconfig}", "--for=enforced")
        given = (f"networkpolicy/{name}", f"--namespace={NAMESPACE}")
        done = await asyncio.to_thread(CliRunner().invoke, main, [*words, *given])
        assert done.exit_code == 0, done.output


@asynccontextmanager
async def street(folder: Path) -> AsyncIterator[Street]:
    async with Town(NetworkKind.BRIDGE, folder) as town, Prober() as prober:
        made = Street(town, prober)
        assert set(await made.seen()) == {Outcome.ACCEPTED}
        yield made


async def test_what_is_waited_for_is_in_force_on_every_node(
    tmp_path: Path, extent: Extent, record_property: Record
) -> None:
    rounds = extent.choose(2, 50)
    async with street(tmp_path) as one:
        denied: Counter[Outcome] = Counter()
        allowed: Counter[Outcome] = Counter()
        for number in range(rounds):
            name = await one.close(number)
            await one.wait(name)
            denied += await one.seen()
            await one.town.api.delete("NetworkPolicy", NAMESPACE, name)
            await one.town.in_force()
            await one.admit("nobody")
            await one.wait("into-api")
            denied += await one.seen()
            # Who waits for what opens may count on it as well.
            await one.admit("web")
            await one.wait("into-api")
            allowed += await one.seen()
        early: Counter[Outcome] = Counter()
        for _ in range(ROUNDS_WITHOUT):
            await one.admit("nobody")
            early += await one.seen(1)
            await one.admit("web")
            await one.wait("into-api")
    record_property("policies waited for", 3 * rounds)
    record_property("probes after a wait for what denies", denied.total())
    record_property("leaks after a wait", denied[Outcome.ACCEPTED])
    record_property("probes after a wait for what admits", allowed.total())
    record_property("refusals after a wait", allowed.total() - allowed[Outcome.ACCEPTED])
    record_property("leaks without a wait", early[Outcome.ACCEPTED])
    assert set(denied) == {Outcome.TIMED_OUT}
    assert set(allowed) == {Outcome.ACCEPTED}
    assert early[Outcome.ACCEPTED] > 0


@pytest.mark.whole
async def test_connections_that_are_open_are_no_part_of_what_is_waited_for(tmp_path: Path) -> None:
    """Whoever sent before goes on from the same port: policy looks at first packets."""
    async with street(tmp_path) as one:
        assert set(await one.seen_again()) == {Outcome.ACCEPTED}
        await one.admit("nobody")
        await one.wait("into-api")
        assert set(await one.seen_again()) == {Outcome.ACCEPTED}
        assert set(await one.seen()) == {Outcome.TIMED_OUT}
