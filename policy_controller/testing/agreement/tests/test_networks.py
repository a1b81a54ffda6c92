"""Links between nodes that carry less than pods believe, under default deny, on every pod network.

Where routers say so to the pods, and where the nodes cut the tunnel's packets into pieces. A pod's own way to its node that
is too narrow is in test_connection_rows.py.
"""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from compilers.evaluate.tests.stage import PODS, cluster, labels, pods, policy, rule
from compilers.model.selector import EVERYTHING
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.handmade import INTERFACE
from policy_controller.testing.agreement.tests.scene import command
from policy_controller.testing.agreement.tests.talk import LONG, talking
from policy_controller.testing.laboratory import NetworkKind

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

WEB, API, _, _, _ = PODS
PORT: Final = 7000
STATE: Final = cluster(
    policy("shop/closed", EVERYTHING, ingress=[], egress=[]),
    policy("shop/out", labels("app=web"), egress=[rule([pods("app=api")], [f"TCP {PORT}"])]),
    policy("shop/in", labels("app=api"), ingress=[rule([pods("app=web")], [f"TCP {PORT}"])]),
)
WHOLE, NARROW = 1500, 1400
"""Bytes of the largest packet on the underlay."""
BYTES: Final = 500_000
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])

IP_MTU, IPV6_MTU = 14, 24
"""linux/in.h and linux/in6.h: what a socket knows of its path."""
TUNNEL_IPV6: Final = 70
"""Bytes of the headers around a packet in VXLAN over IPv6."""
LEARNT: Final = {
    (NetworkKind.BRIDGE, 0): NARROW,
    (NetworkKind.BRIDGE, 1): NARROW,
    (NetworkKind.ROUTED, 0): NARROW,
    (NetworkKind.ROUTED, 1): NARROW,
    (NetworkKind.VXLAN, 1): NARROW - TUNNEL_IPV6,
}
"""What a pod is told of the path. Over IPv4 a node cuts the tunnel's packets instead, and tells nobody."""


@contextmanager
def narrow_underlay(stage: Stage) -> Iterator[None]:
    nodes = [node.namespace for node in stage.laboratory.nodes.values()]
    try:
        for namespace in nodes:
            command(namespace, "ip", "link", "set", INTERFACE, "mtu", str(NARROW))
        yield
    finally:
        for namespace in nodes:
            command(namespace, "ip", "link", "set", INTERFACE, "mtu", str(WHOLE))


@FAMILIES
async def test_an_allowed_connection_carries_much_over_an_underlay_that_is_too_narrow(
    stage: Stage, family: int
) -> None:
    client, server = WEB.addresses[family], API.addresses[family]
    await stage.enforce(STATE)

    with narrow_underlay(stage):
        async with talking(stage, client, server, PORT) as talk:
            for speaker in (talk.client, talk.server):
                assert await talk.hears(speaker, secrets.token_bytes(BYTES), within=LONG)
            level, option = (socket.IPPROTO_IPV6, IPV6_MTU) if family else (socket.IPPROTO_IP, IP_MTU)
            path = {one.getsockopt(level, option) for one in (talk.client, talk.server)}

    learnt = LEARNT.get((stage.network, family))
    assert path == ({learnt} if learnt is not None else path)
