"""Every outcome, made on purpose with nft rules on the node in between."""

import pytest

from policy_controller.testing.laboratory import Pod
from policy_controller.testing.probe import Endpoint, Listener, Outcome, Probe, ProbeError, Prober, Transport
from policy_controller.testing.probe.tests.conftest import Town, nft, rules

pytestmark = pytest.mark.packets

OPEN = ((Transport.TCP, 80), (Transport.UDP, 53), (Transport.SCTP, 9999), (Transport.ICMP, None))


OUTCOMES = {
    "ct state invalid drop": Outcome.ACCEPTED,
    "drop": Outcome.TIMED_OUT,
    "ct direction reply drop": Outcome.TIMED_OUT,
    "reject": Outcome.REFUSED,
    "reject with icmpx type host-unreachable": Outcome.UNREACHABLE,
    "reject with icmpx type admin-prohibited": Outcome.UNREACHABLE,
}
ONCE = "ct state new limit rate over 1/day burst 1 packets accept\nct state new drop"
DISCOVERY = "icmpv6 type { 133, 134, 135, 136, 137 } accept"


def probes(source: Pod, destination: Pod) -> list[Probe]:
    return [
        Probe(Endpoint(source.namespace), address, transport, port)
        for address in destination.addresses
        for transport, port in OPEN
    ]


@pytest.mark.parametrize("pair", ["near", "far"])
@pytest.mark.parametrize("rule", OUTCOMES)
async def test_a_rule_shows_as_its_outcome(town: Town, prober: Prober, rule: str, pair: str) -> None:
    source, destination = town.near if pair == "near" else town.far
    with rules(town.nodes[0].namespace, f"{DISCOVERY}\n{rule}"):
        results = await prober.run(probes(source, destination))

    assert [result for result in results if result.outcome is not OUTCOMES[rule]] == []


async def test_one_lost_packet_is_no_verdict(town: Town, prober: Prober) -> None:
    source, destination = town.far
    for probe in probes(source, destination):
        with rules(town.nodes[0].namespace, f"{DISCOVERY}\n{ONCE}"):
            result = await prober.ask(probe)
        assert result.outcome is Outcome.ACCEPTED, result
        assert result.elapsed_ms > 200


async def test_a_handshake_without_an_answer_is_not_accepted(town: Town, prober: Prober) -> None:
    source, destination = town.far
    with rules(town.nodes[0].namespace, "tcp flags & psh == psh drop"):
        result = await prober.ask(Probe(Endpoint(source.namespace), destination.ipv4, Transport.TCP, 80))

    assert result.outcome is Outcome.TIMED_OUT
    assert result.connected_ms is not None
    assert "handshake" in result.reason


async def test_another_pod_that_answers_in_the_place_of_the_expected_one_is_seen(
    town: Town, prober: Prober
) -> None:
    source, destination = town.far
    impostor = town.pods[3]
    nft(
        town.nodes[0].namespace,
        f"""
        table ip under-test {{
          chain prerouting {{
            type nat hook prerouting priority dstnat
            ip daddr {destination.ipv4} dnat to {impostor.ipv4}
          }}
        }}
        """,
    )
    try:
        asked = [
            Probe(Endpoint(source.namespace), destination.ipv4, transport, port, peer=destination.name)
            for transport, port in OPEN[:3]
        ]
        results = await prober.run(asked)
    finally:
        nft(town.nodes[0].namespace, "delete table ip under-test")

    assert [(result.outcome, result.peer) for result in results] == [(Outcome.WRONG_PEER, impostor.name)] * 3


async def test_what_cannot_be_sent_is_an_error_with_its_reason(town: Town, prober: Prober) -> None:
    gone = Endpoint(f"{town.laboratory.prefix}never-was")
    result = await prober.ask(Probe(gone, town.pods[0].ipv4, Transport.TCP, 80))

    assert result.outcome is Outcome.ERROR
    assert "there is no network namespace" in result.reason


@pytest.mark.parametrize(
    ("transport", "port"),
    [(Transport.TCP, None), (Transport.ICMP, 80), (Transport.UDP, 0), (Transport.SCTP, 65536)],
)
def test_a_probe_that_makes_no_sense_cannot_be_made(
    town: Town, transport: Transport, port: int | None
) -> None:
    with pytest.raises(ProbeError):
        Probe(Endpoint(town.pods[0].namespace), town.pods[1].ipv4, transport, port)


async def test_a_port_that_is_taken_cannot_be_listened_on(town: Town, prober: Prober) -> None:
    with pytest.raises(ProbeError, match="twin cannot listen"):
        prober.listen(Listener(town.pods[0].namespace, "twin", tcp=(80,)))
