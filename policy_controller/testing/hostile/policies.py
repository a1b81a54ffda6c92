"""NetworkPolicies that are wrong in one field, and a few that are right and hard to believe.

Knows what networking/v1 forbids. Knows nothing of who finds out.
"""

from collections.abc import Iterator
from typing import Final

from compilers.model.words import Direction
from policy_controller.testing.hostile.case import BOTH, EGRESS, INGRESS, NOTHING, Case, Json, policy

ANYONE: Final[Json] = {"policyTypes": ["Ingress"], "ingress": [{}]}
"""A spec that would open what a fault beside it must close."""
Row = tuple[str, object, str]
"""Name, what is wrong, and a part of what is said of it."""


def _cases(kind: str, rows: tuple[Row, ...], closes: frozenset[Direction] = INGRESS) -> Iterator[Case]:
    for name, spec, told in rows:
        yield Case(f"{kind}: {name}", (policy(spec),), (told,) if told else (), closes if told else NOTHING)


def _in_rule(field: str, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Rows whose value is one entry of a rule; the rule after it admits everybody, and must not."""
    return tuple(
        (name, {"policyTypes": ["Ingress"], "ingress": [{field: [entry]}, {}]}, told)
        for name, entry, told in rows
    )


PORTS: Final[tuple[Row, ...]] = (
    ("zero", {"port": 0}, "0 is not a port"),
    ("negative", {"port": -1}, "-1 is not a port"),
    ("65536", {"port": 65536}, "65536 is not a port"),
    ("in quotes", {"port": "80"}, "in quotes"),
    ("80.0", {"port": 80.0}, "must be a port number or a port name"),
    ("80.5", {"port": 80.5}, "must be a port number or a port name"),
    ("true", {"port": True}, "must be a port number or a port name"),
    ("a list", {"port": [80]}, "must be a port number or a port name"),
    ("beyond 64 bits", {"port": 10**30}, "beyond 64 bits"),
    ("infinite", {"port": float("inf")}, "must be a port number or a port name"),
    ("name of 16 characters", {"port": "a" * 16}, "is not a port name"),
    ("upper case name", {"port": "Web"}, "is not a port name"),
    ("name of nothing", {"port": ""}, "is not a port name"),
    ("name like nft", {"port": "80 accept; #"}, "is not a port name"),
    ("endPort below port", {"port": 80, "endPort": 79}, "must be between port 80 and 65535"),
    ("endPort alone", {"endPort": 90}, "needs a numeric port"),
    ("endPort beside a name", {"port": "web", "endPort": 90}, "needs a numeric port"),
    ("endPort 65536", {"port": 80, "endPort": 65536}, "65536 is not a port"),
    ("endPort true", {"port": 80, "endPort": True}, "must be an integer"),
    ("protocol in lower case", {"protocol": "tcp"}, "is no protocol"),
    ("protocol ICMP", {"protocol": "ICMP"}, "is no protocol"),
    ("protocol 6", {"protocol": 6}, "must be a string"),
    ("unknown field", {"port": 80, "ports": [81]}, "did you mean port?"),
    ("null entry", None, "is nothing (null)"),
    ("text", "80/TCP", "must be a mapping"),
)
PEERS: Final[tuple[Row, ...]] = (
    ("empty", {}, "must hold a podSelector"),
    ("nulls", {"podSelector": None, "ipBlock": None}, "must hold a podSelector"),
    ("null entry", None, "must hold a podSelector"),
    ("text", "10.0.0.0/8", "must be a mapping"),
    (
        "ipBlock beside podSelector",
        {"ipBlock": {"cidr": "0.0.0.0/0"}, "podSelector": {}},
        "cannot stand beside",
    ),
    ("unknown field", {"podSelector": {}, "serviceSelector": {}}, "no such field"),
    ("selector is a list", {"podSelector": []}, "must be a mapping"),
    ("labels are a list", {"podSelector": {"matchLabels": ["app"]}}, "must be a mapping"),
    ("label value is a number", {"podSelector": {"matchLabels": {"app": 1}}}, "quote it"),
    ("label value is null", {"podSelector": {"matchLabels": {"app": None}}}, "found nothing (null)"),
    (
        "In without values",
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "must not be empty",
    ),
    (
        "In with no values",
        {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}},
        "must not be empty",
    ),
    (
        "Exists with values",
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        "must be empty",
    ),
    (
        "unknown operator",
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}},
        "is no operator",
    ),
    (
        "operator in lower case",
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "exists"}]}},
        "is no operator",
    ),
    ("no key", {"podSelector": {"matchExpressions": [{"operator": "Exists"}]}}, "is required"),
    (
        "null expression",
        {"podSelector": {"matchExpressions": [None]}},
        "must be a mapping with key and operator",
    ),
)
BLOCKS: Final[tuple[Row, ...]] = (
    ("no cidr", {}, "is required"),
    ("empty cidr", {"cidr": ""}, "is not a CIDR"),
    ("an address", {"cidr": "10.0.0.1"}, "is not a CIDR"),
    ("/33", {"cidr": "10.0.0.0/33"}, "is not a CIDR"),
    ("/-1", {"cidr": "10.0.0.0/-1"}, "is not a CIDR"),
    ("a mask", {"cidr": "10.0.0.0/255.0.0.0"}, "is not a CIDR"),
    ("a zone", {"cidr": "fe80::1%eth0/64"}, "zone id"),
    ("a number", {"cidr": 10}, "must be a string"),
    ("digits of another script", {"cidr": "\u0661\u0660.0.0.0/8"}, "is not a CIDR"),
    ("nft in it", {"cidr": "10.0.0.0/8 } accept"}, "is not a CIDR"),
    ("except outside", {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}, "outside"),
    ("except of the other family", {"cidr": "10.0.0.0/8", "except": ["fd00::/8"]}, "outside"),
    ("except of more", {"cidr": "10.0.0.0/8", "except": ["0.0.0.0/0"]}, "outside"),
    ("except is null", {"cidr": "10.0.0.0/8", "except": [None]}, "found nothing (null)"),
    ("except is text", {"cidr": "10.0.0.0/8", "except": "10.0.0.0/16"}, "must be a list"),
    ("unknown field", {"cidr": "10.0.0.0/8", "excepts": ["10.0.0.0/16"]}, "did you mean except?"),
)
RIGHT_BLOCKS: Final[tuple[Row, ...]] = (
    # An API server has accepted each of these at some time and has them stored.
    ("leading zeros", {"cidr": "010.0.0.0/8"}, ""),
    ("IPv4 written as IPv6", {"cidr": "::ffff:10.0.0.0/104"}, ""),
    ("host bits", {"cidr": "10.1.2.3/8"}, ""),
    ("except of everything", {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}, ""),
    ("everything, both halves excepted", {"cidr": "0.0.0.0/0", "except": ["0.0.0.0/1", "128.0.0.0/1"]}, ""),
)
SPECS: Final[tuple[Row, ...]] = (
    ("unknown type beside a known", ANYONE | {"policyTypes": ["Ingress", "Foo"]}, "is no policy type"),
    ("type in lower case", ANYONE | {"policyTypes": ["ingress"]}, "is no policy type"),
    ("types are text", ANYONE | {"policyTypes": "Ingress"}, "must be a list"),
    ("three types", ANYONE | {"policyTypes": ["Ingress", "Egress", "Ingress"]}, "more than two types"),
    ("null type", ANYONE | {"policyTypes": [None]}, "found nothing (null)"),
    ("type is true", ANYONE | {"policyTypes": [True]}, "must be a string"),
    ("unknown field", ANYONE | {"policytypes": ["Egress"]}, "did you mean policyTypes?"),
    ("text", "deny", "must be a mapping"),
    ("a list", [], "must be a mapping"),
)
OF_INGRESS: Final[tuple[Row, ...]] = (
    ("selector is text", ANYONE | {"podSelector": "app=web"}, "must be a mapping"),
    (
        "selector with an unknown field",
        ANYONE | {"podSelector": {"matchlabels": {"app": "web"}}},
        "did you mean matchLabels?",
    ),
    ("rules are a mapping", {"ingress": {"from": []}, "policyTypes": ["Ingress"]}, "must be a list"),
    ("null rule", {"ingress": [None, {}], "policyTypes": ["Ingress"]}, "write {}"),
    ("rule with to", {"ingress": [{"to": []}, {}], "policyTypes": ["Ingress"]}, "no such field"),
    ("peers are a mapping", {"ingress": [{"from": {}}, {}], "policyTypes": ["Ingress"]}, "must be a list"),
    ("ports are text", {"ingress": [{"ports": "80"}, {}], "policyTypes": ["Ingress"]}, "must be a list"),
)
RIGHT: Final[tuple[Row, ...]] = (
    ("nothing", {}, ""),
    ("null spec", None, ""),
    ("nulls everywhere", {"podSelector": None, "ingress": None, "egress": None, "policyTypes": None}, ""),
    ("a type twice", ANYONE | {"policyTypes": ["Ingress", "Ingress"]}, ""),
    ("no types said", {"ingress": [{}], "policyTypes": []}, ""),
)


def _of_object() -> Iterator[Case]:
    """What is wrong beside the spec."""
    wrong = policy(ANYONE)
    yield Case(
        "object: spec misspelt",
        ({k: v for k, v in wrong.items() if k != "spec"} | {"sepc": ANYONE},),
        ("did you mean spec?",),
        BOTH,
    )
    yield Case("object: unknown field", (policy(ANYONE, status={}, extra=1),), ("no such field",), BOTH)
    yield Case(
        "egress: faulty rule",
        (policy({"policyTypes": ["Egress"], "egress": [{"ports": [{"port": 0}]}, {}]}),),
        ("0 is not a port",),
        EGRESS,
    )


POLICIES: Final[tuple[Case, ...]] = (
    *_cases("port", _in_rule("ports", PORTS)),
    *_cases("peer", _in_rule("from", PEERS)),
    *_cases(
        "block", _in_rule("from", tuple((name, {"ipBlock": block}, told) for name, block, told in BLOCKS))
    ),
    *_cases(
        "block",
        tuple(
            (name, {"ingress": [{"from": [{"ipBlock": block}]}]}, told) for name, block, told in RIGHT_BLOCKS
        ),
    ),
    *_cases("spec", SPECS, BOTH),
    *_cases("spec", OF_INGRESS),
    *_cases("spec", RIGHT),
    *_of_object(),
)
