"""The sample has every form that rule sets of examples and generated clusters put into the tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from compilers.compile import Compiler
from compilers.model.words import Direction
from compilers.nftables.base import Base
from compilers.nftables.expressions import Expression, Match
from compilers.nftables.render import render
from compilers.nftables.table import Table
from compilers.nftables.transaction import NftRejectedError, Rejection, Transaction
from policy_controller.enforcer.libnftables import LibNft
from policy_controller.enforcer.preflight import Weight, kernel_findings
from policy_controller.enforcer.sample import sample_tables
from policy_controller.enforcer.tests.states import base
from policy_controller.testing.examples import load_example
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.namespaces import PrivateNamespace

EXAMPLES: Final = sorted(
    path.parent for path in (Path(__file__).parents[3] / "examples").glob("*/expected.yaml")
)


def form(expression: Expression) -> object:
    """What the kernel must know to carry it out, whatever names and numbers it holds."""
    if isinstance(expression, Match):
        return expression.fields, type(expression.operand), expression.comparison
    return type(expression)


def forms(table: Table) -> Iterator[object]:
    yield from (declared.declaration.key for declared in table.maps)
    yield from ((declared.declaration.key, declared.declaration.kind) for declared in table.sets)
    for chain in table.chains:
        yield chain.hook
        yield from (form(expression) for rule in chain.rules for expression in rule.expressions)


def sampled(base: Base) -> set[object]:
    return {one for tables in sample_tables(base) for table in tables.each() for one in forms(table)}


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_every_form_that_an_example_needs_is_in_the_sample(folder: Path) -> None:
    shipped, cluster = base(), load_example(folder).cluster
    compiler = Compiler(cluster)
    nodes = sorted({pod.node for pod in cluster.pods if pod.node})
    assert nodes
    for node in nodes:
        for table in render(compiler.node(node), shipped, frozenset(Direction)).each():
            assert set(forms(table)) <= sampled(shipped)


@pytest.mark.kernel
def test_the_kernel_of_this_machine_takes_it_and_keeps_nothing() -> None:
    with PrivateNamespace() as network:
        nft = network.run(LibNft)
        assert network.run(lambda: kernel_findings(nft, base())) == ()
        table = base().inet.identity
        assert network.run(lambda: nft.list_table(table.family, table.name)) is None


class Lacking(FakeNft):
    """A kernel that knows no interval sets."""

    def check(self, transaction: Transaction) -> None:
        for command in transaction.commands:
            if "flags interval" in command.text():
                raise NftRejectedError(Rejection.INVALID, "Operation not supported")


def test_what_only_a_rule_set_would_need_is_found_before_there_is_one() -> None:
    (finding,) = kernel_findings(Lacking(), base())
    assert finding.weight is Weight.FATAL
    assert "Operation not supported" in finding.sentence
