"""Open connections, with packets: replies and ICMP errors, changes of policy, and memory that the kernel lost."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product

import pytest

from compilers.evaluate.tests.stage import PODS, changed, cluster, labels, pods, policy, rule, verdict
from compilers.model.cluster import Cluster, Phase
from compilers.model.policy import NetworkPolicy
from compilers.model.selector import EVERYTHING
from compilers.nftables.render import render_empty
from policy_controller.testing.agreement.packets import Connections, Stage
from policy_controller.testing.agreement.tests.handmade import link_to
from policy_controller.testing.agreement.tests.scene import (
    BASE,
    FAR,
    Record,
    assert_rows,
    command,
    everybody,
    on,
    subject,
)
from policy_controller.testing.agreement.tests.talk import LONG, talking
from policy_controller.testing.probe import Outcome, Probe, Transport

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, DB, _, SCRAPER = PODS
CLOSED = policy("shop/closed", EVERYTHING, ingress=[], egress=[])
SUCCESSOR = replace(SCRAPER, name="successor", uid="uid-successor", addresses=WEB.addresses)
SILENT_PORT = 9999
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


def only_web_may(*services: str) -> Cluster:
    """All of shop is closed in both directions, but web may open connections to the others on these services."""
    return cluster(
        CLOSED,
        policy("shop/out", labels("app=web"), egress=[rule([pods("")], services)]),
        policy("shop/in", EVERYTHING, ingress=[rule([pods("app=web")], services)]),
    )


async def test_replies_pass_every_default_deny(stage: Stage, record_property: Record) -> None:
    # Kubernetes says "Reply traffic for those allowed connections will also be implicitly allowed."
    rows = [
        (*ends, service, "allowed" if ends[0] == "shop/web" else "denied")
        for ends in (("shop/web", "shop/db"), ("shop/web", "shop/api"), ("shop/db", "shop/web"))
        for service in ("TCP 80", "UDP 53", "SCTP 80")
    ]
    state = only_web_may("TCP 80", "UDP 53", "SCTP 80")
    record_property(on(stage, "rows of connections with packets"), await assert_rows(stage, state, rows))


async def test_icmp_unreachable_of_an_allowed_connection_passes_every_default_deny(stage: Stage) -> None:
    # RFC 1122, 4.1.3.3: UDP hands ICMP errors to the application; here that nobody listens, from a closed pod.
    await stage.enforce(only_web_may(f"UDP {SILENT_PORT}"))

    results = await stage.prober.run(
        Probe(stage.endpoint(here), there, Transport.UDP, port)
        for server in (DB, API)
        for here, there in zip(WEB.addresses, server.addresses, strict=True)
        for port in (SILENT_PORT, SILENT_PORT - 1)
    )

    assert [result.outcome for result in results] == [Outcome.REFUSED, Outcome.TIMED_OUT] * 4


@contextmanager
def narrow(stage: Stage, mtu: int) -> Iterator[None]:
    """Both nodes' ways to their pods carry less than the pods believe."""
    links = {(stage.pod_at(pod.addresses[0]).node.namespace, link_to(stage, pod)) for pod in (WEB, API)}
    before = {
        link: int(json.loads(command(link[0], "ip", "-j", "link", "show", link[1]))[0]["mtu"])
        for link in links
    }
    try:
        for namespace, name in sorted(links):
            command(namespace, "ip", "link", "set", name, "mtu", str(mtu))
        yield
    finally:
        for (namespace, name), whole in sorted(before.items()):
            command(namespace, "ip", "link", "set", name, "mtu", str(whole))
        for pod in (WEB, API):
            for version in ("-4", "-6"):
                command(stage.endpoint(pod.addresses[0]).namespace, "ip", version, "route", "flush", "cache")


@FAMILIES
async def test_packet_too_big_reaches_both_ends_of_an_allowed_connection(stage: Stage, family: int) -> None:
    # RFC 1191 and RFC 8201: a sender that never hears it sends large packets into nothing.
    client, server = WEB.addresses[family], API.addresses[family]
    words = b"w" * 20_000
    await stage.enforce(only_web_may("TCP 7000"))

    async with talking(stage, client, server, 7000) as talk:
        assert await talk.hears(talk.client, b"short")
        with narrow(stage, 1300):
            for speaker, mouth, router in (
                (talk.client, client, stage.node("node-b")),
                (talk.server, server, stage.node("node-a")),
            ):
                with stage.prober.capture(stage.endpoint(mouth).namespace, "eth0") as capture:
                    assert await talk.hears(speaker, words, within=LONG)
                    error = stage.laboratory.far_addresses(router)[family].packed + mouth.packed
                    assert await capture.frame_with(error, within=1.0), "the path was not too narrow"


async def test_a_tightened_policy_denies_new_connections_at_once_and_leaves_open_ones(stage: Stage) -> None:
    loose, tight = only_web_may("TCP 80"), only_web_may("TCP 81")
    await stage.enforce(loose)
    for server, family in product((DB, API), (0, 1)):
        here, there = stage.endpoint(WEB.addresses[family]), server.addresses[family]
        with await stage.prober.converse(here, there, 80) as conversation:
            await stage.enforce(tight, Connections.KEEP)
            anew = await stage.prober.ask(Probe(here, there, Transport.TCP, 80))
            going_on = await conversation.exchange()
        await stage.enforce(loose)

        assert (anew.outcome, going_on.outcome) == (Outcome.TIMED_OUT, Outcome.ACCEPTED)


async def test_a_deleted_policy_opens_its_pods_and_leaves_nothing_in_the_kernel(
    stage: Stage, record_property: Record
) -> None:
    # Kubernetes says "By default, a pod is non-isolated for ingress; all inbound connections are allowed."
    kept = policy("ops/kept", labels("app=scraper"), ingress=[])
    rows = [(*ends, "TCP 80", "denied") for ends in (("shop/web", "shop/db"), ("shop/db", "outside"))]
    await assert_rows(stage, cluster(*only_web_may("TCP 81").policies, kept), rows)
    before = await stage.held("node-a")

    after = cluster(kept)
    opened = [(source, destination, service, "allowed") for source, destination, service, _ in rows]
    count = await assert_rows(stage, after, [*opened, ("shop/db", "ops/scraper", "TCP 80", "denied")])
    assert await stage.held("node-a") == stage.tables(after)["node-a"]
    assert {chain.name for chain in (await stage.held("node-a")).inet.chains} < {
        chain.name for chain in before.inet.chains
    }

    await stage.enforce(cluster())
    empty = render_empty(BASE)
    for name in stage.laboratory.nodes:
        held = await stage.held(name)
        assert (held.inet.chains, held.bridge) == (empty.inet.chains, empty.bridge)
        assert [one.declaration for one in held.inet.sets] == [one.declaration for one in empty.inet.sets]
        assert not any(one.elements for one in held.inet.maps)
    record_property(on(stage, "rows of connections with packets"), count)


async def test_an_address_that_moves_has_its_new_owners_permissions_at_once(stage: Stage) -> None:
    """For every new connection. What the kernel remembers of the old pod's open ones is for the enforcer to delete."""
    from_web = policy("shop/in", labels("app=db"), ingress=[rule([pods("app=web")])])
    moved = cluster(from_web, pods=(*changed("shop/web", phase=Phase.SUCCEEDED), SUCCESSOR))
    into = [
        Probe(stage.endpoint(here), there, Transport.TCP, 80)
        for here, there in zip(WEB.addresses, DB.addresses, strict=True)
    ]
    await stage.enforce(cluster(from_web))
    before = {result.outcome for result in await stage.prober.run(into)}

    await stage.enforce(moved, Connections.KEEP)
    after = {result.outcome for result in await stage.prober.run(into)}

    assert (before, after) == ({Outcome.ACCEPTED}, {Outcome.TIMED_OUT})


ISOLATION = ("", "e", "i", "ei")
"""In which directions an end of an allowed connection is isolated."""
FIRST_PORT = 7000


def isolated(number: int, directions: str) -> NetworkPolicy:
    """Clients (first four) may open connections to servers; every isolated end is closed to all else."""
    client = number < len(ISOLATION)
    admits = [rule(None, [f"TCP {FIRST_PORT}-{FIRST_PORT + 99}"])]
    egress, ingress = (admits, []) if client else ([], admits)
    return policy(
        f"shop/{number}",
        labels(f"subject={number}"),
        ingress=ingress if "i" in directions else None,
        egress=egress if "e" in directions else None,
    )


@FAMILIES
@pytest.mark.parametrize("first_server", [len(ISOLATION), FAR.start], ids=["near", "far"])
async def test_an_allowed_connection_whose_entry_was_lost_goes_on(
    stage: Stage, first_server: int, family: int
) -> None:
    """It goes on whenever the client speaks, and with nothing lost of what the server said meanwhile.

    A packet of the server alone looks like a connection from the server to the client's port: where the client's
    ingress or the server's egress is isolated, and does not admit that as well, the server is not heard before the
    client has spoken.
    """
    numbers = {0: range(len(ISOLATION)), 1: range(first_server, first_server + len(ISOLATION))}
    state = everybody(
        *(
            isolated(number, kind)
            for side in numbers.values()
            for number, kind in zip(side, ISOLATION, strict=True)
        )
    )
    addresses = {pod.name: pod.addresses[family] for pod in state.pods}
    pairs = list(product(range(len(ISOLATION)), repeat=2))
    expected = {
        (ISOLATION[client], ISOLATION[server]): "i" not in ISOLATION[client] and "e" not in ISOLATION[server]
        for client, server in pairs
    }
    assert {verdict(state, subject(0), subject(first_server), f"TCP {FIRST_PORT}")} == {"allowed"}
    await stage.enforce(state)
    begun, forgotten = asyncio.Barrier(len(pairs) + 1), asyncio.Barrier(len(pairs) + 1)

    async def server_heard(client: int, server: int, port: int) -> bool:
        here, there = (f"subject-{numbers[side][at]}" for side, at in ((0, client), (1, server)))
        async with talking(stage, addresses[here], addresses[there], port) as talk:
            assert await talk.hears(talk.client, b"before")
            await begun.wait()
            await forgotten.wait()
            heard = await talk.hears(talk.server, b"server first")
            assert await talk.hears(talk.client, b"client", within=LONG)
            if not heard:
                assert await talk.received(talk.client, len(b"server first"), within=LONG)
            assert await talk.hears(talk.server, b"server again")
            return heard

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(server_heard(client, server, FIRST_PORT + index))
            for index, (client, server) in enumerate(pairs)
        ]
        await begun.wait()
        await stage.forget_connections()
        await forgotten.wait()

    found = {
        (ISOLATION[client], ISOLATION[server]): task.result()
        for (client, server), task in zip(pairs, tasks, strict=True)
    }
    assert found == expected
