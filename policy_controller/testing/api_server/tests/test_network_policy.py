"""NetworkPolicy: what the server fills in, drops and rejects."""

from typing import Any

import pytest

from policy_controller.testing.api_server import ApiError, ApiServer
from policy_controller.testing.api_server.tests.raw import POLICIES, RawClient, policy

DEFAULTED: list[tuple[Any, Any]] = [
    # API reference, policyTypes: "policies that contain an egress section are assumed to affect egress, and all
    # policies (whether or not they contain an ingress section) are assumed to affect ingress."
    ({}, {"podSelector": {}, "policyTypes": ["Ingress"]}),
    ({"podSelector": None}, {"podSelector": {}, "policyTypes": ["Ingress"]}),
    ({"egress": []}, {"podSelector": {}, "policyTypes": ["Ingress"]}),
    ({"egress": [{}]}, {"podSelector": {}, "egress": [{}], "policyTypes": ["Ingress", "Egress"]}),
    ({"policyTypes": ["Egress"]}, {"podSelector": {}, "policyTypes": ["Egress"]}),
    # ports[].protocol: "If not specified, this field defaults to TCP."
    (
        {"ingress": [{"ports": [{"port": 80}, {"protocol": "UDP", "port": "dns"}, {}]}]},
        {
            "podSelector": {},
            "ingress": [
                {
                    "ports": [
                        {"protocol": "TCP", "port": 80},
                        {"protocol": "UDP", "port": "dns"},
                        {"protocol": "TCP"},
                    ]
                }
            ],
            "policyTypes": ["Ingress"],
        },
    ),
    # Empty lists are not stored; empty selectors are.
    (
        {"ingress": [{"from": [], "ports": []}, {"from": [{"namespaceSelector": {}}]}]},
        {
            "podSelector": {},
            "ingress": [{}, {"from": [{"namespaceSelector": {}}]}],
            "policyTypes": ["Ingress"],
        },
    ),
    # Fields the type does not have are dropped.
    (
        {"podSelektor": {}, "ingress": [{"frm": []}]},
        {"podSelector": {}, "ingress": [{}], "policyTypes": ["Ingress"]},
    ),
    # Go's older parser: host bits and leading zeros are accepted, and stored as written.
    (
        {"ingress": [{"from": [{"ipBlock": {"cidr": "010.1.2.3/8", "except": ["10.001.0.0/16"]}}]}]},
        {
            "podSelector": {},
            "ingress": [{"from": [{"ipBlock": {"cidr": "010.1.2.3/8", "except": ["10.001.0.0/16"]}}]}],
            "policyTypes": ["Ingress"],
        },
    ),
]


@pytest.mark.parametrize(("spec", "stored"), DEFAULTED)
async def test_accepted_policy_is_stored_with_defaults(
    client: RawClient, spec: object, stored: object
) -> None:
    answer = await client.post(POLICIES, policy("p", spec))
    assert (answer.code, answer.body["spec"]) == (201, stored)


def _peer(peer: object) -> dict[str, Any]:
    return {"ingress": [{"from": [peer]}]}


def _port(port: object) -> dict[str, Any]:
    return {"egress": [{"ports": [{"port": 1}, port]}]}


def _block(cidr: str, *excepts: str) -> dict[str, Any]:
    return _peer({"ipBlock": {"cidr": cidr, "except": list(excepts)}})


def _expression(**expression: object) -> dict[str, Any]:
    return {"podSelector": {"matchExpressions": [{"key": "k", **expression}]}}


PEER = "spec.ingress[0].from[0]"
PORT = "spec.egress[0].ports[1]"
EXPRESSION = "spec.podSelector.matchExpressions[0]"

REJECTED: list[tuple[Any, str, str]] = [
    (_peer({}), PEER, "Required value: must specify a peer"),
    (_peer(None), PEER, "Required value: must specify a peer"),
    (
        _peer({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}),
        PEER,
        "Forbidden: may not specify both ipBlock and another peer",
    ),
    (_block(""), f"{PEER}.ipBlock.cidr", "Required value"),
    (_block("10.0.0.0"), f"{PEER}.ipBlock.cidr", 'Invalid value: "10.0.0.0"'),
    (_block("10.0.0.0/33"), f"{PEER}.ipBlock.cidr", "Invalid value"),
    (_block("10.0.0.0/255.0.0.0"), f"{PEER}.ipBlock.cidr", "Invalid value"),
    (_block("10.0.256.0/8"), f"{PEER}.ipBlock.cidr", "Invalid value"),
    (_block("fe80::%eth0/64"), f"{PEER}.ipBlock.cidr", "Invalid value"),
    (_block("10.0.0.0/8", "x"), f"{PEER}.ipBlock.except[0]", 'Invalid value: "x"'),
    (_block("10.0.0.0/8", "11.0.0.0/16"), f"{PEER}.ipBlock.except[0]", "must be a strict subset of `cidr`"),
    (_block("10.0.0.0/8", "10.0.0.0/8"), f"{PEER}.ipBlock.except[0]", "must be a strict subset of `cidr`"),
    (_block("10.0.0.0/8", "0.0.0.0/0"), f"{PEER}.ipBlock.except[0]", "must be a strict subset of `cidr`"),
    (_block("10.0.0.0/8", "10.1.0.0/16", "2001:db8::/64"), f"{PEER}.ipBlock.except[1]", "strict subset"),
    (_port({"port": 0}), f"{PORT}.port", "Invalid value: 0: must be between 1 and 65535, inclusive"),
    (_port({"port": 65536}), f"{PORT}.port", "must be between 1 and 65535, inclusive"),
    (_port({"port": "not a name"}), f"{PORT}.port", "must contain only alpha-numeric characters"),
    (_port({"port": "80"}), f"{PORT}.port", "must contain at least one letter"),
    (_port({"port": "sixteen-letters0"}), f"{PORT}.port", "must be no more than 15 characters"),
    (_port({"port": 80, "endPort": 79}), f"{PORT}.endPort", "must be greater than or equal to `port`"),
    (_port({"port": 80, "endPort": 70000}), f"{PORT}.endPort", "must be between 1 and 65535, inclusive"),
    (
        _port({"port": "web", "endPort": 80}),
        f"{PORT}.endPort",
        "may not be specified when `port` is non-numeric",
    ),
    (_port({"endPort": 80}), f"{PORT}.endPort", "may not be specified when `port` is not specified"),
    (
        _port({"protocol": "tcp"}),
        f"{PORT}.protocol",
        'Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"',
    ),
    (
        _expression(operator="In"),
        f"{EXPRESSION}.values",
        "Required value: must be specified when `operator` is",
    ),
    (_expression(operator="NotIn", values=[]), f"{EXPRESSION}.values", "Required value"),
    (
        _expression(operator="Exists", values=["a"]),
        f"{EXPRESSION}.values",
        "Forbidden: may not be specified when",
    ),
    (_expression(operator="DoesNotExist", values=["a"]), f"{EXPRESSION}.values", "Forbidden"),
    (
        _expression(operator="Equals"),
        f"{EXPRESSION}.operator",
        'Invalid value: "Equals": not a valid selector',
    ),
    (_expression(operator="In", values=["a b"]), f"{EXPRESSION}.values[0]", 'Invalid value: "a b"'),
    (_expression(operator="Exists", key="a b"), f"{EXPRESSION}.key", 'Invalid value: "a b"'),
    ({"podSelector": {"matchLabels": {"": "v"}}}, "spec.podSelector.matchLabels", 'Invalid value: ""'),
    ({"podSelector": {"matchLabels": {"k": "-v"}}}, "spec.podSelector.matchLabels", 'Invalid value: "-v"'),
    (
        _peer({"namespaceSelector": {"matchLabels": {"/": "v"}}}),
        f"{PEER}.namespaceSelector.matchLabels",
        "Invalid",
    ),
    (
        {"policyTypes": ["Ingress", "Egress", "Ingress"]},
        "spec.policyTypes",
        'Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes',
    ),
    ({"policyTypes": ["ingress"]}, "spec.policyTypes[0]", 'Unsupported value: "ingress"'),
]


@pytest.mark.parametrize(("spec", "field", "message"), REJECTED)
async def test_malformed_policy_is_rejected_by_field(
    client: RawClient, spec: object, field: str, message: str
) -> None:
    answer = await client.post(POLICIES, policy("p", spec))
    assert (answer.code, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["details"]["kind"] == "NetworkPolicy"
    assert message in answer.faults[field]
    assert f"{field}: {answer.faults[field]}" in answer.body["message"]
    assert (await client.get(POLICIES)).names == []


@pytest.mark.parametrize(("spec", "field", "message"), REJECTED)
async def test_server_without_validation_stores_malformed_policies_as_they_come(
    spec: object, field: str, message: str
) -> None:
    del field, message
    server = ApiServer(validate=False)
    assert server.create(policy("p", spec))["spec"] == spec


MISTYPED: list[Any] = [
    "text",
    ["list"],
    {"podSelector": []},
    {"ingress": {}},
    {"ingress": [{"from": {}}]},
    {"ingress": [{"ports": [{"port": True}]}]},
    {"ingress": [{"ports": [{"port": 80.5}]}]},
    {"ingress": [{"ports": [{"port": 80, "endPort": "90"}]}]},
    {"podSelector": {"matchLabels": {"a": 1}}},
    {"podSelector": {"matchLabels": ["a"]}},
]


@pytest.mark.parametrize("spec", MISTYPED)
async def test_policy_of_wrong_types_cannot_be_decoded(client: RawClient, spec: object) -> None:
    answer = await client.post(POLICIES, policy("p", spec))
    assert (answer.code, answer.body["reason"]) == (400, "BadRequest")
    assert ApiServer(validate=False).create(policy("p", spec))["spec"] == spec


def test_server_without_validation_fills_in_defaults_of_well_formed_policies() -> None:
    server = ApiServer(validate=False)
    for number, (spec, stored) in enumerate(DEFAULTED):
        assert server.create(policy(f"p{number}", spec))["spec"] == stored


def test_faults_of_an_update_leave_the_stored_policy_alone() -> None:
    server = ApiServer()
    server.create(policy("p", {"policyTypes": ["Ingress"]}))
    with pytest.raises(ApiError, match="must specify a peer"):
        server.apply(policy("p", _peer({})))
    assert server.get("NetworkPolicy", "p")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
