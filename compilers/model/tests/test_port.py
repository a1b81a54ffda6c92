"""Ports: numbers, names, ranges, and what a pod's names stand for."""

import pytest

from compilers.model.faults import InvalidField
from compilers.model.port import NamedPort, PortMatch, check_port_name, numbers_of
from compilers.model.words import Protocol

TCP = Protocol.TCP


@pytest.mark.parametrize(
    ("match", "interval", "text"),
    [
        (PortMatch(TCP), None, "TCP"),
        (PortMatch(TCP, 1), (1, 1), "TCP 1"),
        (PortMatch(Protocol.UDP, 65535), (65535, 65535), "UDP 65535"),
        (PortMatch(TCP, 80, 80), (80, 80), "TCP 80-80"),
        (PortMatch(Protocol.SCTP, 80, 65535), (80, 65535), "SCTP 80-65535"),
        (PortMatch(TCP, "http"), None, "TCP http"),
    ],
)
def test_a_port_is_an_inclusive_interval_unless_absent_or_named(
    match: PortMatch, interval: tuple[int, int] | None, text: str
) -> None:
    assert match.interval == interval
    assert str(match) == text


@pytest.mark.parametrize(
    ("port", "end", "field"),
    [
        (0, None, "port"),
        (-1, None, "port"),
        (65536, None, "port"),
        ("", None, "port"),
        ("80", None, "port"),
        # API, endPort: "This field cannot be defined if the port field is not defined or if the port field is defined
        # as a named (string) port. The endPort must be equal or greater than port."
        (None, 80, "endPort"),
        ("http", 80, "endPort"),
        (80, 79, "endPort"),
        (80, 65536, "endPort"),
    ],
)
def test_ports_outside_the_api_are_refused_at_their_field(
    port: int | str | None, end: int | None, field: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        PortMatch(TCP, port, end)
    assert refused.value.path == (field,)


@pytest.mark.parametrize("name", ["a", "http", "8a", "a" * 15, "a-b-c", "1-a"])
def test_service_names_are_port_names(name: str) -> None:
    check_port_name(name)


@pytest.mark.parametrize(
    "name", ["", "80", "1-2", "a" * 16, "-a", "a-", "a--b", "Http", "a_b", "a.b", "a\n", "ä"]
)
def test_other_words_are_no_port_names(name: str) -> None:
    with pytest.raises(InvalidField):
        check_port_name(name)


def test_name_and_protocol_decide_and_several_numbers_all_match() -> None:
    ports = [
        NamedPort("web", "TCP", 8080),
        NamedPort("web", "TCP", 80),
        NamedPort("web", "UDP", 53),
        NamedPort("dns", "TCP", 53),
        NamedPort("web", "TCP", 80),
    ]

    assert numbers_of("web", TCP, ports) == (80, 8080)
    assert numbers_of("web", Protocol.UDP, ports) == (53,)
    assert numbers_of("web", Protocol.SCTP, ports) == ()
    assert numbers_of("htpp", TCP, ports) == ()
