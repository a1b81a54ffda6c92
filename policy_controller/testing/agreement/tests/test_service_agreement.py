"""Evaluator and packets agree on Services of every kind, by every door, from everybody, under many policies.

Connections are judged as kube-proxy has rewritten them (service_town.py). TCP, UDP and SCTP; pods, nodes and hostNetwork pods.
"""

from itertools import product
from typing import Final

import pytest

from compilers.evaluate.decision import Verdict
from compilers.evaluate.tests.stage import OUTSIDE, PODS, block, cluster, pods, policy, rule, spaces
from compilers.model.cluster import Cluster
from compilers.model.selector import EVERYTHING
from compilers.model.words import Protocol
from policy_controller.testing.agreement.tests.scene import Record
from policy_controller.testing.agreement.tests.service_town import (
    EXTERNAL_IPS,
    NODE_A,
    NODE_B,
    ON_EVERY_NETWORK,
    Call,
    Client,
    Door,
    Town,
    service,
)
from policy_controller.testing.extent import Extent
from policy_controller.testing.generators import seeded
from policy_controller.testing.generators.policies import random_policy
from policy_controller.testing.kube_proxy import TrafficPolicy

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module"), ON_EVERY_NETWORK]

WEB, API, DB, FAR_WEB, SCRAPER = PODS
CLIENTS: Final[tuple[Client, ...]] = (WEB, API, SCRAPER, NODE_A, NODE_B, "outside")
LOCAL: Final = TrafficPolicy.LOCAL
SERVICES: Final = (
    service(1, [DB], node_port=30001, external_ips=EXTERNAL_IPS),
    service(2, [API], port=443, node_port=30002, external_ips=EXTERNAL_IPS),
    service(3, [DB], port=8443, target=80, node_port=30003, external=LOCAL, external_ips=EXTERNAL_IPS),
    service(4, [FAR_WEB], Protocol.UDP, target=53, node_port=30004),
    service(5, [DB], Protocol.UDP, node_port=30005, external=LOCAL),
    service(6, [API], Protocol.SCTP, node_port=30006),
    service(7, [DB], Protocol.SCTP, target=80),
    # hostNetwork pods as backends.
    service(8, [NODE_A], node_port=30008),
    service(9, [NODE_B], node_port=30009, external=LOCAL),
    service(10, [DB], internal=LOCAL),
    service(11, [API], Protocol.UDP, internal=LOCAL),
    # A backend that is also among the clients.
    service(12, [WEB], node_port=30012),
    service(13, [API], target=443, node_port=30013, external=LOCAL),
)
SHORT, WHOLE = 1, 40
"""Clusters of generated policies for each network and mode."""


STATES: Final = {
    "nobody is isolated": cluster(),
    "everybody is closed": cluster(
        policy("shop/closed", EVERYTHING, ingress=[], egress=[]),
        policy("ops/closed", EVERYTHING, ingress=[], egress=[]),
    ),
    "pods by labels, backends' ports": cluster(
        policy("shop/out", EVERYTHING, egress=[rule([pods("app=db"), pods("app=api")], ["TCP 8080", "UDP", "SCTP 80"])]),
        policy("shop/in", EVERYTHING, ingress=[rule([pods("app=web"), spaces("", "app=scraper")], ["TCP", "UDP 8080"])]),
        policy("ops/in", EVERYTHING, ingress=[rule([spaces("team=shop")], ["UDP 53", "TCP http"])]),
    ),
    "nodes and outside by blocks": cluster(
        policy("shop/out", EVERYTHING, egress=[rule([block("172.31.0.11/32"), block("fd31::c/128")], ["TCP 9100", "TCP 30001-30009"])]),
        policy("shop/in", EVERYTHING, ingress=[rule([block(f"{OUTSIDE[0]}/32"), block("fd31::/64"), block("10.244.1.0/30")])]),
    ),
    "Services' own addresses and ports": cluster(
        policy("shop/out", EVERYTHING, egress=[rule([block("10.96.0.0/16"), block("fd96::/64"), block("198.51.100.0/24")])]),
        policy("shop/in", EVERYTHING, ingress=[rule(None, ["TCP 443", "UDP 80", "SCTP 81"])]),
    ),
}  # fmt: skip


def every_call(town: Town) -> list[Call]:
    return [
        call
        for client, called, door in product(CLIENTS, SERVICES, Door)
        for call in town.calls(client, called, door)
    ]


async def agree(town: Town, state: Cluster, record: Record) -> None:
    await town.stage.enforce(state)
    calls = every_call(town)
    wrong = await town.disagreements(state, calls)
    assert not wrong, "\n".join(wrong)
    allowed = sum(town.expected(state, call) is Verdict.ALLOWED for call in calls)
    record(f"probes of Services allowed, packets == evaluator ({town.mode.value})", allowed)
    record(f"probes of Services denied, packets == evaluator ({town.mode.value})", len(calls) - allowed)


@pytest.fixture(autouse=True, scope="module")
def services(town: Town) -> None:
    town.serve(*SERVICES)


@pytest.mark.parametrize("name", STATES)
async def test_packets_and_evaluator_agree_on_services_of_every_kind(
    town: Town, name: str, record_property: Record
) -> None:
    await agree(town, STATES[name], record_property)


@pytest.mark.timeout(900)
async def test_packets_and_evaluator_agree_on_services_under_generated_policies(
    town: Town, extent: Extent, record_property: Record
) -> None:
    for seed in range(extent.choose(SHORT, WHOLE)):
        rng = seeded(seed)
        policies = [
            random_policy(rng, rng.choice(("shop", "ops")), f"policy-{number}", PODS)
            for number in range(rng.randint(1, 6))
        ]
        await agree(town, cluster(*policies), record_property)
