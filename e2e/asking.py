"""Rows asked of agents: who sends what to which address, and which verdict each answer stands for.

Knows agents and outcomes. Knows nothing of policies.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from compilers.model.words import Address, Family, Protocol, family_of
from e2e.agents import Agent
from e2e.cluster import ClusterError, Deadline
from e2e.examples import Row
from policy_controller.testing.agreement.packets import TRANSPORT, VERDICT
from policy_controller.testing.probe import Transport
from policy_controller.testing.probe.agent import Question, Sight

REACHED_SECONDS: Final = 20.0


def question_of(row: Row, agents: Mapping[str, Agent]) -> Question | None:
    """The row as a question to its source; None where an end has no address of the family."""
    source, destination = (_at(agents[key].addresses, row.family) for key in (row.source, row.destination))
    if source is None or destination is None:
        return None
    transport = TRANSPORT[row.protocol] if isinstance(row.protocol, Protocol) else Transport.ICMP
    to = agents[row.destination].pod
    answered = (
        isinstance(row.protocol, Protocol) and (row.protocol, row.port) in to.ports and not to.host_network
    )
    return Question(str(destination), transport, row.port, to.key if answered else None, str(source))


async def asked(rows: Iterable[Row], agents: Mapping[str, Agent]) -> tuple[list[tuple[Row, Sight]], int]:
    """Every row with what its source saw; and how many rows are of a family that the cluster does not speak."""
    questions: dict[str, list[tuple[Row, Question]]] = defaultdict(list)
    unspoken = 0
    for row in rows:
        question = question_of(row, agents)
        if question is None:
            unspoken += 1
        else:
            questions[row.source].append((row, question))

    async def ask(source: str) -> list[tuple[Row, Sight]]:
        seen = await agents[source].line.ask([question for _, question in questions[source]])
        return [(row, sight) for (row, _), sight in zip(questions[source], seen, strict=True)]

    return [one for some in await asyncio.gather(*map(ask, questions)) for one in some], unspoken


async def wrong(rows: Iterable[Row], agents: Mapping[str, Agent]) -> list[tuple[Row, str]]:
    """Each row that packets do not confirm, with what they saw."""
    seen, _ = await asked(rows, agents)
    return [
        (row, f"{row.text}: {sight.outcome.value} {sight.peer or ''} {sight.reason}")
        for row, sight in seen
        if VERDICT.get(sight.outcome) is not row.verdict
    ]


async def confirmed(rows: Sequence[Row], agents: Mapping[str, Agent]) -> int:
    """How many rows packets confirm, all that can be asked here.

    Those that are not yet as they should be are asked again until what was applied has reached the nodes; then all once more.
    Raises ClusterError, with a line for each row that stays wrong.
    """
    remaining, faults = list(rows), []
    try:
        async for _ in Deadline(REACHED_SECONDS, "what was applied is not what packets meet"):
            faults = await wrong(remaining, agents)
            if not faults and len(remaining) == len(rows):
                break
            remaining = [row for row, _ in faults] or list(rows)
    except ClusterError as over:
        raise ClusterError("\n".join((str(over), *(text for _, text in faults)))) from None
    return sum(question_of(row, agents) is not None for row in rows)


def _at(addresses: Iterable[Address], family: Family) -> Address | None:
    return next((address for address in addresses if family_of(address) is family), None)
