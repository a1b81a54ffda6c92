"""The agent as a process of its own in a pod's network: asked over its loopback, it sends, answers and watches."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
import pytest_asyncio

from policy_controller.testing.laboratory import Laboratory, Pod, inside
from policy_controller.testing.probe import Expected, Outcome, ProbeError, Transport
from policy_controller.testing.probe.agent import HOST, Question, Watched
from policy_controller.testing.probe.agent_line import AgentLine
from policy_controller.testing.probe.tests.conftest import rules

pytestmark = [pytest.mark.packets, pytest.mark.asyncio(loop_scope="module")]

CONTROL = 17700
AGENT = (sys.executable, "-m", "policy_controller.testing.probe.agent")
PORTS = ("--tcp", "80", "--udp", "53", "--sctp", "2905")
START_SECONDS = 20.0
EVERY_TRANSPORT = ((Transport.TCP, 80), (Transport.UDP, 53), (Transport.SCTP, 2905), (Transport.ICMP, None))


@pytest.fixture(scope="module")
def pods() -> Iterator[tuple[Pod, Pod]]:
    """Two pods with an agent each, named after the pod."""
    with Laboratory() as laboratory, ExitStack() as stack:
        nodes = laboratory.add_node("node-1"), laboratory.add_node("node-2")
        pods = laboratory.add_pod(nodes[0], "near"), laboratory.add_pod(nodes[1], "far")
        for pod in pods:
            words = ("--identity", pod.name, "--control", str(CONTROL), *PORTS)
            process = laboratory.spawn(pod.namespace, [*AGENT, *words])
            stack.callback(process.wait)
            stack.callback(process.terminate)
        yield pods


def connected(pod: Pod) -> socket.socket:
    """A connection to the agent's control port, as soon as it listens."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        with inside(pod.namespace):
            opened = socket.socket()
        try:
            with inside(pod.namespace):
                opened.connect((HOST, CONTROL))
        except ConnectionRefusedError:
            opened.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            opened.setblocking(False)
            return opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def line(pods: tuple[Pod, Pod]) -> AsyncIterator[AgentLine]:
    (await asyncio.to_thread(connected, pods[1])).close()
    async with AgentLine(await asyncio.to_thread(connected, pods[0])) as line:
        yield line


async def test_an_agent_sends_every_protocol_and_its_like_answers_with_its_name(
    line: AgentLine, pods: tuple[Pod, Pod]
) -> None:
    questions = [
        Question(str(address), transport, port, peer="far" if port is not None else None)
        for address in pods[1].addresses
        for transport, port in EVERY_TRANSPORT
    ]

    seen = await line.ask(questions)

    assert [sight.outcome for sight in seen] == [Outcome.ACCEPTED] * len(questions)
    assert [sight.peer for sight in seen] == [question.peer for question in questions]


async def test_an_agent_tells_silence_from_a_refusal(line: AgentLine, pods: tuple[Pod, Pod]) -> None:
    address = str(pods[1].addresses[0])
    questions = [Question(address, Transport.TCP, port) for port in (80, 81)]

    with rules(pods[0].node.namespace, "tcp dport 80 drop"):
        seen = await line.ask(questions)

    assert [sight.outcome for sight in seen] == [Outcome.TIMED_OUT, Outcome.REFUSED]


@pytest.mark.parametrize(("expected", "is_clean"), [(Expected.ALLOWED, True), (Expected.DENIED, False)])
async def test_an_agent_counts_what_it_sees_while_it_watches(
    line: AgentLine, pods: tuple[Pod, Pod], expected: Expected, is_clean: bool
) -> None:
    question = Question(str(pods[1].addresses[0]), Transport.TCP, 80)

    await line.watch([Watched(question, expected)])
    await asyncio.sleep(0.3)
    tally = await line.stop()

    assert tally.probes > 3
    assert tally.is_clean is is_clean


@pytest.mark.parametrize(
    "question",
    [
        Question("nowhere", Transport.TCP, 80),
        Question("10.0.0.1", Transport.TCP),
        Question("::1", Transport.ICMP, 7),
    ],
)
async def test_an_agent_says_what_is_wrong_with_a_question_and_goes_on(
    line: AgentLine, question: Question
) -> None:
    with pytest.raises(ProbeError):
        await line.ask([question])

    assert await line.ask([]) == ()
