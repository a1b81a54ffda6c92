"""Names and uids that no API server accepts: what reaches nodes and the API server is legal all the same."""

from datetime import UTC, datetime

import pytest

from compilers.compile import Compiler
from compilers.model.names import DNS_SUBDOMAIN, UID
from policy_controller.controller.complaints import complaints
from policy_controller.controller.enforced import Picture
from policy_controller.controller.kinds import Kind
from policy_controller.controller.status import MOST_FAULTS, MOST_POLICIES, Condition, status_document
from policy_controller.controller.store import Store
from policy_controller.controller.tests.objects import namespace, pod, policy
from policy_controller.wire.convert import decode_operator, encode_operator
from policy_controller.wire.messages import SnapshotMessage, Stands

NAMES = [
    "Upper",
    "a/b",
    "../../api/v1/secrets",
    'x" ; add rule inet x y accept ; #',
    "n" * 254,
    "a\nb",
    "\x1b[31m",
    "\ud800",
    "\u202e",
    "a\0b",
    "*",
    "@known4",
]


def store_of(*trees: tuple[Kind, dict[str, object]]) -> Store:
    store = Store()
    store.put(Kind.NAMESPACE, namespace("shop"))
    for kind, tree in trees:
        store.put(kind, tree)
    return store


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_without_a_legal_name_closes_its_namespace_and_its_nodes_take_it(name: str) -> None:
    store = store_of((Kind.POLICY, policy(name)), (Kind.POD, pod("web", address="10.0.0.1")))
    rule_set = Compiler(store.cluster()).node("node-a")
    message = encode_operator(SnapshotMessage(1, Stands(), rule_set))
    assert decode_operator(message) == SnapshotMessage(1, Stands(), rule_set)
    (entry,) = rule_set.pods.values()
    assert not rule_set.classes[entry.ingress or ""].rules
    assert not rule_set.classes[entry.egress or ""].rules
    (complaint,) = complaints(store, ())
    assert DNS_SUBDOMAIN.fits(complaint.policy.name)
    assert complaint.message.isprintable()


@pytest.mark.parametrize("uid", ["", *NAMES[1:]])
def test_a_policy_without_a_legal_uid_is_told_under_one(uid: str) -> None:
    store = store_of(
        (Kind.POLICY, policy("Upper") | {"metadata": {"name": "U", "namespace": "shop", "uid": uid}})
    )
    (complaint,) = complaints(store, ())
    assert UID.fits(complaint.policy.uid)


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_of_no_legal_namespace_is_nobodys(name: str) -> None:
    store = store_of((Kind.POLICY, policy("deny", namespace=name)))
    assert not store.cluster().policies
    assert not complaints(store, ())


def test_pods_that_share_a_uid_are_all_served() -> None:
    pods = [pod(f"web-{number}", address=f"10.0.0.{number}", uid="same") for number in (1, 2, 3)]
    store = store_of((Kind.POLICY, policy("deny")), *((Kind.POD, tree) for tree in reversed(pods)))
    rule_set = Compiler(store.cluster()).node("node-a")
    assert sorted(entry.name for entry in rule_set.pods.values()) == ["web-1", "web-2", "web-3"]
    assert rule_set.pods["same"].name == "web-1"


WELL = Condition(
    datetime(2026, 1, 2, tzinfo=UTC), synced=True, kubernetes="v1.33.0", not_ready=(), warnings=()
)


def test_the_status_document_is_bounded_and_says_how_many_there_are() -> None:
    wrong = {"podSelector": {}, "ingress": [{"ports": [{"port": 0}] * 50}]}
    store = store_of(
        *(
            (Kind.POLICY, policy(f"p{number}", wrong, version=number + 1))
            for number in range(MOST_POLICIES + 5)
        )
    )
    told = complaints(store, ())
    closed = frozenset(one.policy.ref for one in told)
    picture = Picture(store.written(), Compiler(store.cluster()), store.revision, {}, {}, closed)
    document = status_document(store.cluster(), picture, told, WELL)
    assert document["policyCount"] == MOST_POLICIES + 5
    assert len(document["policies"]) == MOST_POLICIES
    assert document["policies"][0]["faultCount"] == 50
    assert len(document["policies"][0]["faults"]) == MOST_FAULTS
