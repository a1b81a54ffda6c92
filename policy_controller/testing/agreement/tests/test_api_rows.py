"""Selection, peers, ports and blocks with packets: the evaluator's own tables, each row three ways.

The evaluator's tests quote the API's sentence above each table. Here each row gets a pod of its own, so that a whole
table is one cluster.
"""

from collections.abc import Iterator

import pytest

from compilers.evaluate.tests.stage import labels, policy, rule
from compilers.evaluate.tests.test_block_rows import BLOCKS
from compilers.evaluate.tests.test_port_rows import EGRESS_NAMES, PORTS, SERVICES
from compilers.evaluate.tests.test_selection_and_peers import PEERS
from compilers.model.policy import NetworkPolicy, PolicyRule
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.scene import Record, Row, assert_rows, everybody, on, subject

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]


def both_directions(number: int, admits: PolicyRule) -> NetworkPolicy:
    return policy(f"shop/{number}", labels(f"subject={number}"), ingress=[admits], egress=[admits])


async def test_selectors_select_pods_of_their_scope_and_nothing_else(
    stage: Stage, record_property: Record
) -> None:
    # API, from: podSelector alone "selects the pods matching podSelector in the policy's own namespace".
    state = everybody(*(both_directions(number, rule([peer])) for number, (peer, _) in enumerate(PEERS)))
    rows: list[Row] = []
    for number, (_, expected) in enumerate(PEERS):
        for end, verdict in expected.items():
            rows.append((end, subject(number), "TCP 80", verdict))
            rows.append((subject(number), end, "TCP 80", verdict))
    record_property(on(stage, "rows of the API with packets"), await assert_rows(stage, state, rows))


async def test_a_block_is_its_cidr_without_its_own_excepts(stage: Stage, record_property: Record) -> None:
    # API, except: "a slice of CIDRs that should not be included within an IPBlock".
    state = everybody(*(both_directions(number, rule(peers)) for number, (peers, _, _) in enumerate(BLOCKS)))
    rows: list[Row] = []
    for number, (_, address, verdict) in enumerate(BLOCKS):
        rows.append((address, subject(number), "TCP 80", verdict))
        rows.append((subject(number), address, "TCP 80", verdict))
    record_property(on(stage, "rows of the API with packets"), await assert_rows(stage, state, rows))


@pytest.mark.parametrize("direction", ["ingress", "egress"])
async def test_numbers_ranges_and_protocols_admit_exactly_what_they_name(
    stage: Stage, direction: str, record_property: Record
) -> None:
    # API: endPort "indicates that the range of ports from port to endPort if set, inclusive, should be allowed".
    # ICMP passes only a rule without ports; SCTP never widens to TCP.
    state = everybody(
        *(
            policy(f"shop/{number}", labels(f"subject={number}"), **{direction: [rule(None, ports)]})
            for number, (ports, _) in enumerate(PORTS)
        )
    )
    rows: list[Row] = []
    for number, (_, admitted) in enumerate(PORTS):
        ends = ("ops/web", subject(number)) if direction == "ingress" else (subject(number), "ops/web")
        rows += [(*ends, service, "allowed" if service in admitted else "denied") for service in SERVICES]
    record_property(on(stage, "rows of the API with packets"), await assert_rows(stage, state, rows))


async def test_named_port_of_an_egress_rule_resolves_per_destination_pod(
    stage: Stage, record_property: Record
) -> None:
    # API, port: "This can either be a numerical or named port on a pod".
    state = everybody(
        *(
            policy(f"shop/{number}", labels(f"subject={number}"), egress=[rule(peers, ["TCP http"])])
            for number, (peers, _) in enumerate(EGRESS_NAMES)
        )
    )

    def rows() -> Iterator[Row]:
        for number, (_, admitted) in enumerate(EGRESS_NAMES):
            for end in ("shop/web", "shop/api", "ops/web", "ops/scraper", "outside", "node-b", "node-a"):
                for port in (80, 8080):
                    verdict = "allowed" if (end, port) in admitted else "denied"
                    yield subject(number), end, f"TCP {port}", verdict

    record_property(on(stage, "rows of the API with packets"), await assert_rows(stage, state, rows()))
