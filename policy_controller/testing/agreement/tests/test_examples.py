"""Every row of every example, three ways: evaluator, walk over the compiled tables, and real packets."""

from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from compilers.evaluate.ends import OutsideEnd
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.places import outside, pod_places
from policy_controller.testing.agreement.tests.scene import BASE, EXAMPLES, Record, on, wrong_verdicts
from policy_controller.testing.examples import NODES, Example, examples_in, load_example
from policy_controller.testing.laboratory import NetworkKind

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

EXAMPLES_BY_NAME: Final = {path.name: load_example(path) for path in examples_in(EXAMPLES)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(network: NetworkKind) -> AsyncIterator[Stage]:
    """One stage for all: examples are placed alike, so their addresses coincide."""
    examples = EXAMPLES_BY_NAME.values()
    rows = [row.traffic for example in examples for row in example.expectations]
    ends = {end for traffic in rows for end in (traffic.source, traffic.destination)}
    places = (
        *pod_places(example.cluster for example in examples),
        outside(end.address for end in ends if isinstance(end, OutsideEnd)),
    )
    ports = {traffic.port for traffic in rows if traffic.port is not None}
    async with Stage(BASE, NODES, places, ports, network) as stage:
        yield stage


@pytest.mark.parametrize("example", EXAMPLES_BY_NAME.values(), ids=EXAMPLES_BY_NAME.keys())
async def test_every_row_of_an_example_holds_three_ways(
    stage: Stage, example: Example, record_property: Record
) -> None:
    for node in example.cluster.nodes.values():
        assert node.addresses == stage.node(node.name).addresses, "the example moved a node off the stage"
    for row in example.expectations:
        assert stage.can_carry(row.traffic), f"no packet can try {row}"
    await stage.enforce(example.cluster)

    wrong = await wrong_verdicts(
        stage, example.cluster, ((row.traffic, row.verdict) for row in example.expectations)
    )

    assert not wrong, "\n".join(wrong)
    record_property(on(stage, "examples, evaluator == walk == packets"), 1)
    record_property(on(stage, "rows of examples, evaluator == walk == packets"), len(example.expectations))
