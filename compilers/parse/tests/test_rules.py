"""Rules: which peers, ports, blocks and selectors are refused, and at which field."""

import ipaddress

import pytest

from compilers.model.block import IpBlock
from compilers.model.faults import path_text
from compilers.model.policy import SelectorPeer
from compilers.model.port import PortMatch
from compilers.model.selector import EVERYTHING, LabelSelector, Operator, Requirement
from compilers.model.words import Direction, Protocol
from compilers.parse.policy import Origin, parse_policy
from compilers.parse.tests.trees import Tree, policy_of

APP = LabelSelector((("app", "web"),))
APP_TREE = {"matchLabels": {"app": "web"}}


def faults_of(rule: object, origin: Origin = Origin.FILE) -> dict[str, str]:
    parsed = parse_policy(policy_of(ingress=[rule]), origin)
    assert parsed.value is not None
    assert bool(parsed.value.sides[Direction.INGRESS].faults) is bool(parsed.faults)
    return {
        path_text(fault.path).removeprefix("spec.ingress[0]").lstrip("."): fault.reason
        for fault in parsed.faults
    }


@pytest.mark.parametrize(
    ("tree", "peer"),
    [
        ({"podSelector": {}}, SelectorPeer(EVERYTHING, None)),
        ({"namespaceSelector": {}}, SelectorPeer(None, EVERYTHING)),
        ({"podSelector": APP_TREE, "namespaceSelector": None}, SelectorPeer(APP, None)),
        ({"podSelector": APP_TREE, "namespaceSelector": {}}, SelectorPeer(APP, EVERYTHING)),
        ({"podSelector": {"matchLabels": None, "matchExpressions": None}}, SelectorPeer(EVERYTHING, None)),
        (
            {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": None}]}},
            SelectorPeer(LabelSelector(match_expressions=(Requirement("a", Operator.EXISTS),)), None),
        ),
        ({"ipBlock": {"cidr": "::/0", "except": None}}, IpBlock(ipaddress.ip_network("::/0"))),
        ({"ipBlock": {"cidr": "::/0", "except": []}}, IpBlock(ipaddress.ip_network("::/0"))),
    ],
)
def test_absent_parts_of_a_peer_are_none_and_empty_ones_are_not(
    tree: Tree, peer: SelectorPeer | IpBlock
) -> None:
    parsed = parse_policy(policy_of(ingress=[{"from": [tree]}]), Origin.FILE)

    assert parsed.value is not None
    assert parsed.value.sides[Direction.INGRESS].rules[0].peers == (peer,)


@pytest.mark.parametrize(
    ("tree", "port"),
    [
        ({}, PortMatch(Protocol.TCP)),
        ({"protocol": None, "port": None, "endPort": None}, PortMatch(Protocol.TCP)),
        ({"port": 80}, PortMatch(Protocol.TCP, 80)),
        ({"protocol": "UDP"}, PortMatch(Protocol.UDP)),
        ({"protocol": "SCTP", "port": "http"}, PortMatch(Protocol.SCTP, "http")),
        ({"port": 80, "endPort": 80}, PortMatch(Protocol.TCP, 80, 80)),
        ({"port": 1, "endPort": 65535}, PortMatch(Protocol.TCP, 1, 65535)),
    ],
)
def test_ports_default_to_tcp_and_to_every_number(tree: Tree, port: PortMatch) -> None:
    parsed = parse_policy(policy_of(ingress=[{"ports": [tree]}]), Origin.FILE)

    assert parsed.value is not None
    assert parsed.value.sides[Direction.INGRESS].rules[0].ports == (port,)


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize(
    ("peer", "paths"),
    [
        ({}, {""}),
        (None, {""}),
        ("web", {""}),
        ({"podSelector": None}, {""}),
        ({"podSelector": {}, "ipBlock": {"cidr": "::/0"}}, {""}),
        ({"namespaceSelector": {}, "ipBlock": {"cidr": "::/0"}}, {""}),
        ({"podSelector": {}, "serviceAccounts": {}}, {"serviceAccounts"}),
        ({"podSelector": []}, {"podSelector"}),
        ({"podSelector": {"app": "web"}}, {"podSelector.app"}),
        ({"podSelector": {"matchLabels": {"app": None}}}, {"podSelector.matchLabels.app"}),
        ({"podSelector": {"matchLabels": {"app": True}}}, {"podSelector.matchLabels.app"}),
        ({"podSelector": {"matchLabels": {True: "x"}}}, {"podSelector.matchLabels.true"}),
        ({"podSelector": {"matchLabels": {80: "x"}}}, {"podSelector.matchLabels.80"}),
        ({"podSelector": {"matchLabels": {"a b": "x"}}}, {'podSelector.matchLabels["a b"]'}),
        ({"podSelector": {"matchLabels": {"a": "x y"}}}, {"podSelector.matchLabels.a"}),
        (
            {"namespaceSelector": {"matchExpressions": [None, {"key": "a", "operator": "exists"}]}},
            {f"namespaceSelector.matchExpressions{end}" for end in ("[0]", "[1].operator")},
        ),
        (
            {"podSelector": {"matchExpressions": [{"operator": "In", "values": ["a"]}, {"key": "a"}]}},
            {f"podSelector.matchExpressions{end}" for end in ("[0].key", "[1].operator")},
        ),
        (
            {
                "podSelector": {
                    "matchExpressions": [
                        {"key": "a", "operator": "In", "values": []},
                        {"key": "a", "operator": "NotIn"},
                        {"key": "a", "operator": "Exists", "values": ["x"]},
                        {"key": "/a", "operator": "In", "values": ["x", 1, None, "y z"], "value": "x"},
                    ]
                }
            },
            {
                f"podSelector.matchExpressions{end}"
                for end in (
                    "[0].values",
                    "[1].values",
                    "[2].values",
                    "[3].key",
                    "[3].value",
                    "[3].values[1]",
                    "[3].values[2]",
                    "[3].values[3]",
                )
            },
        ),
        ({"ipBlock": {}}, {"ipBlock.cidr"}),
        ({"ipBlock": "10.0.0.0/8"}, {"ipBlock"}),
        ({"ipBlock": {"cidr": 10}}, {"ipBlock.cidr"}),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "excepts": []}}, {"ipBlock.excepts"}),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "except": "10.1.0.0/16"}}, {"ipBlock.except"}),
        (
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8", "::/0", "x", None, "10.1.0.0/16"]}},
            {f"ipBlock.except[{index}]" for index in range(4)},
        ),
    ],
)
def test_peers_that_the_api_server_refuses_close_their_side(
    origin: Origin, peer: object, paths: set[str]
) -> None:
    expected = {f"from[1].{path}" if path else "from[1]" for path in paths}
    assert set(faults_of({"from": [{"podSelector": {}}, peer]}, origin)) == expected


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize(
    ("port", "paths"),
    [
        (None, {""}),
        (80, {""}),
        ({"port": "80"}, {"port"}),
        ({"port": ""}, {"port"}),
        ({"port": True}, {"port"}),
        ({"port": 80.0}, {"port"}),
        ({"port": [80]}, {"port"}),
        ({"port": 0}, {"port"}),
        ({"port": 65536}, {"port"}),
        ({"port": 10**5000}, {"port"}),
        ({"port": "Http"}, {"port"}),
        ({"protocol": "tcp"}, {"protocol"}),
        ({"protocol": ""}, {"protocol"}),
        ({"protocol": 6}, {"protocol"}),
        (
            {"protocol": "ICMP", "port": 0, "endPort": "x", "ports": 1},
            {"protocol", "port", "endPort", "ports"},
        ),
        ({"endPort": 80}, {"endPort"}),
        ({"port": "http", "endPort": 80}, {"endPort"}),
        ({"port": 81, "endPort": 80}, {"endPort"}),
        ({"port": 80, "endPort": 65536}, {"endPort"}),
        ({"port": 1, "endPort": True}, {"endPort"}),
        ({"port": 80, "endPort": "90"}, {"endPort"}),
    ],
)
def test_ports_that_the_api_server_refuses_close_their_side(
    origin: Origin, port: object, paths: set[str]
) -> None:
    expected = {f"ports[0].{path}" if path else "ports[0]" for path in paths}
    assert set(faults_of({"ports": [port]}, origin)) == expected


@pytest.mark.parametrize(
    ("rule", "path", "said"),
    [
        ({"to": []}, "to", "from"),
        ({"form": []}, "form", "did you mean from?"),
        ({"ports": [{"port": "80"}]}, "ports[0].port", "quotes"),
        ({"ports": [{"port": True}]}, "ports[0].port", "a port number or a port name"),
        (
            {"from": [{"podSelector": {"matchLabels": {"a": True}}}]},
            "from[0].podSelector.matchLabels.a",
            "quote it",
        ),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}, "from[0].ipBlock.cidr", "10.0.0.0/8"),
        ({"ports": [{"protocol": "tcp"}]}, "ports[0].protocol", "TCP, UDP, SCTP"),
    ],
)
def test_messages_name_the_way_out(rule: Tree, path: str, said: str) -> None:
    assert said in faults_of(rule)[path]


def test_an_except_of_all_of_its_cidr_is_a_fault_in_files_and_matches_nothing_from_an_api_server() -> None:
    # Kubernetes' validation: an except "must be a strict subset of `cidr`"; older servers have stored others.
    rule = {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.9.0.0/8"]}}]}
    stored = parse_policy(policy_of(ingress=[rule]), Origin.API)

    assert set(faults_of(rule)) == {"from[0].ipBlock.except[1]"}
    assert not stored.faults
    assert {path_text(warning.path) for warning in stored.warnings} == {
        "spec.ingress[0].from[0].ipBlock.except[1]"
    }
    assert stored.value is not None
    [peer] = stored.value.sides[Direction.INGRESS].rules[0].peers or ()
    assert isinstance(peer, IpBlock)
    assert peer.ranges() == ()


def test_hostile_words_are_escaped_in_messages() -> None:
    hostile = '\x1b[2J"\n' + "x" * 1000
    faults = faults_of(
        {
            hostile: 1,
            "ports": [{"port": hostile, "protocol": hostile}],
            "from": [{"ipBlock": {"cidr": hostile}}, {"podSelector": {"matchLabels": {hostile: hostile}}}],
        }
    )

    assert len(faults) == 5
    for path, reason in faults.items():
        assert all(char == "…" or " " <= char <= "~" for char in path + reason)
        assert len(reason) < 300
