"""Policies as they are written, with packets: what is absent, empty, defaulted or wrong in the text decides about traffic.

Each row's text is read as from a file or from an API server and has a pod of its own, so that many are enforced at once.
"""

import itertools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from textwrap import indent
from typing import Final

import pytest
import pytest_asyncio

from compilers.evaluate.decision import Verdict
from compilers.evaluate.tests.stage import PODS, cluster, decide
from compilers.model.cluster import Cluster, Pod
from compilers.model.policy import NetworkPolicy
from compilers.parse.objects import parse_pod
from compilers.parse.policy import Origin, parse_policy
from compilers.parse.source import read_documents
from policy_controller.testing.agreement.packets import Stage
from policy_controller.testing.agreement.tests.scene import SUBJECTS, Record, on, subject, wrong_by_row
from policy_controller.testing.agreement.tests.written import CASES, UNREADABLE_SELECTORS, Case

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

POLICY: Final = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: p{number}, namespace: shop}}
spec:
  podSelector: {{matchLabels: {{subject: "{number}"}}}}
{spec}
"""
POD: Final = """
apiVersion: v1
kind: Pod
metadata: {{name: {pod.name}, namespace: shop, uid: {pod.uid}, labels: {{subject: "{number}"}}}}
spec:
  nodeName: {pod.node}
{spec}
status: {{phase: Running, podIPs: [{{ip: {pod.addresses[0]}}}, {{ip: "{pod.addresses[1]}"}}]}}
"""


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a case: how many connections were tried, and one line for each that went wrong."""

    connections: int
    wrong: tuple[str, ...]


def tree(text: str) -> object:
    read = read_documents(text, "case.yaml")
    assert not read.faults
    (document,) = read.documents
    return document.value


def written_policy(case: Case, number: int) -> NetworkPolicy:
    """The policy as it is read; it has faults exactly if the case says so."""
    parsed = parse_policy(tree(POLICY.format(number=number, spec=indent(case.spec, "  "))), case.origin)
    assert parsed.value is not None
    assert bool(parsed.faults) is case.is_faulty, parsed.faults
    return parsed.value


def written_pod(case: Case, number: int) -> Pod:
    """The subject, as the case writes it where it does."""
    pod = SUBJECTS[number]
    if not case.pod:
        return pod
    text = POD.format(pod=pod, number=number, spec=indent(case.pod, "  "))
    parsed = parse_pod(tree(text), Origin.API)
    assert parsed.value is not None
    assert not parsed.faults
    assert replace(parsed.value, ports=()) == pod, "the case's pod is no subject"
    return parsed.value


async def tried(stage: Stage, cases: Mapping[str, Case]) -> dict[str, Tried]:
    """Enforce the policies of the cases at once and try their connections."""
    numbered = list(enumerate(cases.values()))
    state = cluster(
        *(written_policy(case, number) for number, case in numbered),
        pods=(*PODS, *(written_pod(case, number) for number, case in numbered)),
    )
    expected = [
        (number, decision.traffic, Verdict(verdict))
        for number, case in numbered
        for source, destination, service, verdict in case.rows
        for decision in decide(state, named(source, number), named(destination, number), service)
    ]
    await stage.enforce(state)
    wrong = await wrong_by_row(stage, state, [(traffic, verdict) for _, traffic, verdict in expected])
    found: dict[int, list[list[str]]] = {number: [] for number, _ in numbered}
    for (number, *_), lines in zip(expected, wrong, strict=True):
        found[number].append(lines)
    return {
        name: Tried(len(found[number]), tuple(itertools.chain.from_iterable(found[number])))
        for number, name in enumerate(cases)
    }


def named(end: str, number: int) -> str:
    return subject(number) if end == "S" else end


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(stage: Stage) -> AsyncIterator[Mapping[str, Tried]]:
    """Of every case, as many at a time as there are subjects."""
    found: dict[str, Tried] = {}
    names = list(CASES)
    for start in range(0, len(names), len(SUBJECTS)):
        found |= await tried(stage, {name: CASES[name] for name in names[start : start + len(SUBJECTS)]})
    yield found


@pytest.mark.parametrize("case", CASES)
async def test_packets_and_walk_and_evaluator_agree_that(
    stage: Stage, results: Mapping[str, Tried], case: str, record_property: Record
) -> None:
    assert not results[case].wrong, "\n".join(results[case].wrong)
    record_property(on(stage, "rows of written policies with packets"), results[case].connections)


@pytest.mark.parametrize("spec", UNREADABLE_SELECTORS.values(), ids=UNREADABLE_SELECTORS.keys())
async def test_a_selector_that_cannot_be_read_closes_its_namespace_and_no_other(
    stage: Stage, spec: str, record_property: Record
) -> None:
    text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n  "
    parsed = parse_policy(tree(text + spec), Origin.API)
    assert parsed.value is not None
    assert parsed.faults
    state: Cluster = cluster(parsed.value)
    rows = [
        *((source, pod, "denied") for source in ("ops/web", "outside") for pod in ("shop/web", "shop/api", "shop/db")),
        ("shop/web", "shop/db", "denied"),
        ("outside", "ops/web", "allowed"),
        ("ops/scraper", "ops/web", "allowed"),
    ]  # fmt: skip
    expected = [
        (decision.traffic, Verdict(verdict))
        for source, destination, verdict in rows
        for decision in decide(state, source, destination, "TCP 80")
    ]
    await stage.enforce(state)
    wrong = list(itertools.chain.from_iterable(await wrong_by_row(stage, state, expected)))
    assert not wrong, "\n".join(wrong)
    record_property(on(stage, "rows of written policies with packets"), len(expected))
