"""Clusters: who is a member, who owns an address, and that order does not matter."""

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.model.cluster import (
    NAME_LABEL,
    Cluster,
    Ending,
    Namespace,
    Node,
    Phase,
    Pod,
    PodNetwork,
)

SHARED = ipaddress.ip_address("10.0.0.1")
OTHER = ipaddress.ip_address("fd00::1")


def pod(name: str, **changes: object) -> Pod:
    plain = Pod(
        namespace="shop",
        name=name,
        uid=f"uid-{name}",
        labels={"app": name},
        node="one",
        addresses=(SHARED,),
        created="2024-01-01T00:00:00Z",
    )
    return replace(plain, **changes)  # type: ignore[arg-type] # each test names fields of Pod


YOUNGER = "2024-01-01T00:00:01Z"


@pytest.mark.parametrize(
    ("first", "second", "owner"),
    [
        ({}, {"created": YOUNGER}, "b"),
        ({"created": YOUNGER}, {}, "a"),
        ({"created": YOUNGER, "ending": Ending.TERMINATING}, {}, "b"),
        ({"ending": Ending.TERMINATING}, {"ending": Ending.TERMINATING, "created": YOUNGER}, "b"),
        ({}, {}, "b"),
        ({}, {"phase": Phase.SUCCEEDED, "created": YOUNGER}, "a"),
        ({}, {"phase": Phase.FAILED, "created": YOUNGER}, "a"),
        ({}, {"network": PodNetwork.HOST, "created": YOUNGER}, "a"),
    ],
)
def test_a_reused_address_belongs_to_the_live_and_then_the_younger_pod(
    first: dict[str, object], second: dict[str, object], owner: str
) -> None:
    pods = (pod("a", **first), pod("b", **second))
    for order in (pods, pods[::-1]):
        cluster = Cluster.of(pods=order)
        assert cluster.owners[SHARED].name == owner
        assert {item.name for item in cluster.pods if cluster.addresses_of(item)} == {owner}


def test_a_conflict_names_every_live_pod_with_its_owner_last() -> None:
    cluster = Cluster.of(
        pods=[
            pod("young", created=YOUNGER, addresses=(SHARED, OTHER)),
            pod("old"),
            pod("ended", phase=Phase.FAILED),
        ]
    )

    [(address, pods)] = cluster.conflicts
    assert address == SHARED
    assert [item.name for item in pods] == ["old", "young"]
    assert cluster.addresses_of(cluster.pods[-1]) == (SHARED, OTHER)


@pytest.mark.parametrize(
    ("changes", "has_gates", "is_member"),
    [
        ({}, True, True),
        ({"phase": Phase.PENDING}, True, True),
        ({"phase": Phase.UNKNOWN}, True, True),
        ({"ending": Ending.TERMINATING}, True, True),
        ({"addresses": ()}, True, False),
        ({"phase": Phase.SUCCEEDED}, False, False),
        ({"phase": Phase.FAILED}, False, False),
        ({"network": PodNetwork.HOST}, False, False),
    ],
)
def test_membership_needs_a_network_of_its_own_an_address_and_a_pod_that_has_not_ended(
    changes: dict[str, object],
    has_gates: bool,
    is_member: bool,
) -> None:
    subject = pod("a", **changes)

    assert subject.has_gates is has_gates
    assert subject.is_member is is_member
    assert bool(Cluster.of(pods=[subject]).addresses_of(subject)) is is_member


def test_a_namespace_always_carries_the_label_with_its_name() -> None:
    forged = Namespace("shop", {NAME_LABEL: "kube-system", "team": "a"})

    assert forged.labels == {NAME_LABEL: "shop", "team": "a"}
    cluster = Cluster.of(namespaces=[forged])
    assert cluster.namespace_labels("shop") == forged.labels
    assert cluster.namespace_labels("nowhere") is None


def test_node_addresses_are_those_reported_and_those_of_host_network_pods() -> None:
    host = ipaddress.ip_address("192.0.2.1")
    second = ipaddress.ip_address("192.0.2.2")
    cluster = Cluster.of(
        nodes=[Node("one", (host,))],
        pods=[
            pod("plain"),
            pod("proxy", network=PodNetwork.HOST, addresses=(second,), node="two"),
            pod("done", network=PodNetwork.HOST, addresses=(OTHER,), phase=Phase.SUCCEEDED),
            pod("unscheduled", network=PodNetwork.HOST, addresses=(OTHER,), node=None),
        ],
    )

    assert cluster.node_of_address == {host: "one", second: "two"}


@given(
    st.lists(
        st.builds(
            pod,
            st.sampled_from("abcd"),
            addresses=st.sampled_from([(), (SHARED,), (SHARED, OTHER)]),
            ending=st.sampled_from(Ending),
            phase=st.sampled_from(Phase),
        ),
        unique_by=lambda item: item.name,
    ),
    st.data(),
)
def test_a_cluster_does_not_depend_on_the_order_of_its_objects(pods: list[Pod], data: st.DataObject) -> None:
    names = [Namespace(name, {}) for name in ("b", "a")]
    one = Cluster.of(names, pods)
    other = Cluster.of(names[::-1], data.draw(st.permutations(pods)))

    assert one == other
    assert list(one.namespaces) == list(other.namespaces) == ["a", "b"]
    assert one.owners == other.owners
    assert one.conflicts == other.conflicts
    owned = [address for item in one.pods for address in one.addresses_of(item)]
    assert len(owned) == len(set(owned)), "an address is never two pods'"
