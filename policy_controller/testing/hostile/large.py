"""Objects at, and beyond, what there is room for: many rules, long lists, many policies.

Knows how large an API server lets an object be (etcd: 1.5 MiB). The bounds are compilers/parse/bounds.py's and
compilers/compile/room.py's.
"""

from collections.abc import Iterator
from typing import Final

from policy_controller.testing.hostile.case import INGRESS, Case, Json, pod, policy

KIBIBYTE: Final = 1024


def _blocks(count: int, step: int = 64) -> list[Json]:
    return [
        {
            "ipBlock": {
                "cidr": f"{10 + (n * step >> 24)}.{n * step >> 16 & 255}.{n * step >> 8 & 255}.{n * step & 255}/32"
            }
        }
        for n in range(count)
    ]


def _excepts(count: int) -> Json:
    return {"ipBlock": {"cidr": "0.0.0.0/0", "except": [peer["ipBlock"]["cidr"] for peer in _blocks(count)]}}


def _selector(number: int) -> Json:
    return {"podSelector": {"matchLabels": {"app": f"app-{number}"}}}


def _ports(count: int) -> list[Json]:
    return [{"port": number + 1} for number in range(count)]


def _deep(levels: int) -> object:
    value: object = {}
    for _ in range(levels):
        value = {"a": value}
    return value


FITS: Final[tuple[tuple[str, Json], ...]] = (
    (
        "2,000 rules",
        {"ingress": [{"from": [_selector(n % 40)], "ports": [{"port": n + 1}]} for n in range(2_000)]},
    ),
    ("2,000 rules of 2,000 selectors", {"ingress": [{"from": [_selector(n)]} for n in range(2_000)]}),
    (
        "2,000 rules over every pod",
        {
            "ingress": [
                {"from": [{"namespaceSelector": {}}], "ports": [{"port": n + 1}]} for n in range(2_000)
            ]
        },
    ),
    ("2,000 port names", {"ingress": [{"ports": [{"port": f"p-{n}"} for n in range(2_000)]}]}),
    (
        "40 peers times 50 ports",
        {"ingress": [{"from": [_selector(n) for n in range(40)], "ports": _ports(50)}]},
    ),
    ("30,000 excepts", {"ingress": [{"from": [_excepts(30_000)]}]}),
    (
        "10,000 values",
        {
            "podSelector": {
                "matchExpressions": [
                    {"key": "app", "operator": "NotIn", "values": [f"v{n}" for n in range(10_000)]}
                ]
            }
        },
    ),
    ("a mebibyte of annotations", {"policyTypes": ["Ingress"]}),
)
TOO_LARGE: Final[tuple[tuple[str, Json, str], ...]] = (
    ("100,000 excepts", {"ingress": [{"from": [_excepts(100_000)]}]}, "holds more than 32,768 values"),
    ("9,000 rules", {"ingress": [{}] * 9_000}, "has 9,000 combinations"),
    (
        "200 peers times 200 ports",
        {"ingress": [{"from": [_selector(n) for n in range(200)], "ports": _ports(200)}, {}]},
        "has 40,001 combinations",
    ),
    ("200 levels", {"ingress": [{"from": [_deep(200)]}, {}]}, "no such field"),
    ("20,000 faults", {"ingress": [{"ports": [{"port": 0}] * 8_000}, {}]}, "has more faults"),
)


def _large() -> Iterator[Case]:
    for name, spec in FITS:
        more = {"annotations": {"note": "x" * KIBIBYTE * KIBIBYTE}} if "annotations" in name else {}
        tree = policy(spec)
        yield Case(f"fits: {name}", (tree | {"metadata": tree["metadata"] | more},))
    for name, spec, told in TOO_LARGE:
        yield Case(f"too large: {name}", (policy(spec),), (told,), INGRESS)
    selectors = {"ingress": [{"from": [_selector(n) for n in range(3_000)]}]}
    yield Case(
        "no room: 3,000 selectors",
        (policy(selectors),),
        ("more than 2,048 different selectors",),
        INGRESS,
        beyond_room=True,
    )
    many = [
        policy({"ingress": [{"from": [_selector(n)], "ports": _ports(200)}]}, f"many-{n}") for n in range(100)
    ]
    yield Case(
        "no room: 20,000 rules of 100 policies",
        tuple(many),
        ("more than 16,384 rules",),
        INGRESS,
        beyond_room=True,
    )
    crowd = [policy({"ingress": [{"from": [_selector(n % 10)]}]}, f"many-{n}") for n in range(2_000)]
    yield Case("fits: 2,000 policies on one pod", tuple(crowd))
    bound = [pod(f"bound-{n}") for n in range(5_000)]
    yield Case("fits: 5,000 pods bound to a node by name", tuple(bound))


LARGE: Final[tuple[Case, ...]] = tuple(_large())
