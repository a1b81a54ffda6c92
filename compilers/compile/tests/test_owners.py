"""Which addresses end between two states: tables of what happens to pods, and properties of sequences."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compilers.compile import Compiler
from compilers.evaluate.tests.stage import PODS, changed, cluster, labels, pods, policy, rule
from compilers.model.cluster import Cluster, Ending, Phase, Pod, PodNetwork
from compilers.model.selector import EVERYTHING
from compilers.model.words import Address
from compilers.ruleset.owners import Owners, ended, ended_between, owners_of
from compilers.ruleset.rule_set import RuleSet
from compilers.ruleset.tests.rule_sets import ADDRESSES, rule_sets

WEB, API, DB = PODS[:3]
FROM_API = policy("shop/from-api", labels("app=web"), ingress=[rule([pods("app=api")])])
NOBODY: frozenset[Address] = frozenset()


def without(*gone: Pod) -> tuple[Pod, ...]:
    return tuple(pod for pod in PODS if pod not in gone)


def successor(of: Pod, **fields: object) -> Pod:
    """A later pod of another name, with the same addresses."""
    later = replace(of, name="later", uid="uid-later", created="2026-02-02T00:00:00Z")
    return replace(later, **fields)  # type: ignore[arg-type]  # field values are the caller's


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(without(WEB), WEB.addresses, id="a pod goes"),
        pytest.param((*without(WEB), successor(WEB)), WEB.addresses, id="another pod has them now"),
        pytest.param(
            (*without(WEB), replace(WEB, uid="uid-again")),
            WEB.addresses,
            id="a pod of the same name has them",
        ),
        pytest.param(changed("shop/web", phase=Phase.SUCCEEDED), WEB.addresses, id="it has succeeded"),
        pytest.param(changed("shop/web", phase=Phase.FAILED), WEB.addresses, id="it has failed"),
        pytest.param(
            changed("shop/web", addresses=WEB.addresses[:1]), WEB.addresses[1:], id="it loses one of two"
        ),
        pytest.param(
            (*changed("shop/web", ending=Ending.TERMINATING), successor(WEB)),
            WEB.addresses,
            id="a live pod reports them too",
        ),
        pytest.param((*PODS, successor(WEB, created="")), (), id="an older pod reports them too"),
        pytest.param(changed("shop/web", ending=Ending.TERMINATING), (), id="it is asked to end"),
        pytest.param(changed("shop/web", phase=Phase.UNKNOWN), (), id="its node is lost"),
        pytest.param(changed("shop/web", labels={}), (), id="its labels change"),
        pytest.param((*PODS, successor(WEB, addresses=(ip_address("10.9.9.9"),))), (), id="a pod comes"),
    ],
)
def test_an_address_ends_when_it_is_no_longer_that_pods(
    after: Iterable[Pod], expected: tuple[Address, ...]
) -> None:
    new = Cluster.of(pods=after)
    assert ended(owners_of(cluster()), owners_of(new)) == frozenset(expected)


def test_an_address_of_a_node_is_no_pods() -> None:
    host = replace(WEB, network=PodNetwork.HOST)
    assert ended(owners_of(Cluster.of(pods=[host])), owners_of(Cluster.of())) == NOBODY


def both(old: Cluster, new: Cluster, node: str) -> frozenset[Address]:
    return ended_between(Compiler(old).node(node), Compiler(new).node(node))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(cluster(FROM_API, pods=without(WEB)), WEB.addresses, id="a pod of the node goes"),
        pytest.param(
            cluster(FROM_API, pods=(*without(WEB), successor(WEB))),
            WEB.addresses,
            id="another pod of the node has them",
        ),
        pytest.param(
            cluster(FROM_API, pods=(*without(API), successor(API))),
            API.addresses,
            id="another peer has them",
        ),
        pytest.param(
            cluster(FROM_API, pods=(*without(API), successor(API, labels={}))),
            (),
            id="a pod that is no peer has them: not told from a change of labels",
        ),
        pytest.param(cluster(FROM_API, pods=changed("shop/api", labels={})), (), id="a peer's labels change"),
        pytest.param(cluster(policy("shop/deny", EVERYTHING, ingress=[])), (), id="policy is tightened"),
        pytest.param(cluster(), (), id="policy is deleted"),
    ],
)
def test_a_node_can_tell_some_of_it_from_its_rule_sets(after: Cluster, expected: tuple[Address, ...]) -> None:
    before = cluster(FROM_API)
    found = both(before, after, "node-a")
    assert found == frozenset(expected)
    assert found <= ended(owners_of(before), owners_of(after))


@given(rule_sets(), rule_sets())
def test_no_address_that_a_pod_of_the_node_keeps_has_ended(old: RuleSet, new: RuleSet) -> None:
    def owners(rule_set: RuleSet) -> Owners:
        return {address: pod.uid for pod in rule_set.pods.values() for address in pod.addresses}

    assert ended_between(old, old) == NOBODY
    assert ended_between(old, new) == ended(owners(old), owners(new))


@given(
    st.lists(st.dictionaries(st.sampled_from(ADDRESSES), st.sampled_from(("1", "2", "3"))), min_size=1),
    st.data(),
)
def test_states_that_are_passed_over_hide_only_addresses_that_went_back(
    states: list[Owners], data: st.DataObject
) -> None:
    kept = [states[0], *(one for one in states[1:-1] if data.draw(st.booleans())), states[-1]]

    every, some = (NOBODY.union(*(ended(old, new) for old, new in pairwise(seen))) for seen in (states, kept))

    assert some <= every
    for address in every - some:
        assert ended(kept[0], kept[-1]).isdisjoint({address})
    for address in NOBODY.union(*states) - every:
        assert len({owners[address] for owners in states if address in owners}) == 1
