"""Address blocks and their excepts: one table a row of the behaviours that engines get wrong."""

import pytest

from compilers.evaluate.tests.stage import block, cluster, labels, pods, policy, rule, spaces, verdict
from compilers.model.faults import InvalidField
from compilers.model.policy import Peer

BLOCKS: list[tuple[list[Peer], str, str]] = [
    # (peers of a rule, an address, the verdict in both directions)
    # API: except is "a slice of CIDRs that should not be included within an IPBlock".
    ([block("10.0.0.0/8", "10.1.0.0/16")], "10.0.0.1", "allowed"),
    ([block("10.0.0.0/8", "10.1.0.0/16")], "10.0.255.255", "allowed"),
    ([block("10.0.0.0/8", "10.1.0.0/16")], "10.1.0.0", "denied"),
    ([block("10.0.0.0/8", "10.1.0.0/16")], "10.1.255.255", "denied"),
    ([block("10.0.0.0/8", "10.1.0.0/16")], "10.2.0.0", "allowed"),
    ([block("10.0.0.0/8", "10.1.0.0/16")], "11.0.0.0", "denied"),
    ([block("2001:db8::/32", "2001:db8:1::/48")], "2001:db8:1::5", "denied"),
    ([block("2001:db8::/32", "2001:db8:1::/48")], "2001:db8:2::5", "allowed"),
    # Except subtracts from its own cidr only: another block or a selector that covers the address still admits it.
    ([block("10.0.0.0/8", "10.1.0.0/16"), block("10.1.2.0/24")], "10.1.2.3", "allowed"),
    ([block("10.0.0.0/8", "10.1.0.0/16"), block("10.1.2.0/24")], "10.1.3.3", "denied"),
    ([block("10.0.0.0/8", "10.244.2.0/24"), spaces("team=ops")], "10.244.2.12", "allowed"),
    ([block("10.0.0.0/8", "10.244.2.0/24"), spaces("team=ops")], "10.244.2.11", "denied"),
    # Overlaps and duplicates are the union.
    ([block("10.0.0.0/9"), block("10.0.0.0/8"), block("10.0.0.0/8")], "10.200.0.1", "allowed"),
    ([block("10.0.0.0/8", "10.0.0.0/9", "10.64.0.0/10")], "10.64.0.1", "denied"),
    # An except that is the whole cidr leaves nothing.
    ([block("10.0.0.0/8", "10.0.0.0/8")], "10.0.0.1", "denied"),
    # 0.0.0.0/0 is IPv4 only, ::/0 IPv6 only.
    ([block("0.0.0.0/0")], "203.0.113.9", "allowed"),
    ([block("0.0.0.0/0")], "2001:db8::1", "denied"),
    ([block("::/0")], "203.0.113.9", "denied"),
    ([block("::/0")], "2001:db8::1", "allowed"),
    # A block that covers a pod's address matches that pod's traffic; one that covers a node's address, the node's.
    ([block("10.244.2.11/32")], "10.244.2.11", "allowed"),
    ([block("10.244.2.0/24")], "10.244.2.12", "allowed"),
    ([block("172.31.0.0/24")], "172.31.0.12", "allowed"),
    ([block("172.31.0.0/24")], "172.31.1.12", "denied"),
]


@pytest.mark.parametrize(("peers", "address", "expected"), BLOCKS)
def test_a_block_is_its_cidr_without_its_own_excepts(peers: list[Peer], address: str, expected: str) -> None:
    inward = cluster(policy("shop/p", labels("app=db"), ingress=[rule(peers)]))
    outward = cluster(policy("shop/p", labels("app=db"), egress=[rule(peers)]))
    assert verdict(inward, address, "shop/db", "TCP 80") == expected
    assert verdict(outward, "shop/db", address, "TCP 80") == expected


def test_except_does_not_deny_what_another_rule_or_policy_admits() -> None:
    # Kubernetes says "Network policies do not conflict; they are additive."
    holed = rule([block("0.0.0.0/0", "10.244.1.0/24"), block("::/0", "fd10:244:1::/64")])
    one = cluster(policy("shop/p", labels("app=db"), ingress=[holed, rule([pods("app=web")])]))
    two = cluster(
        policy("shop/p", labels("app=db"), ingress=[holed]),
        policy("shop/q", labels("app=db"), ingress=[rule([pods("app=web")])]),
    )
    for state in (one, two):
        assert verdict(state, "shop/web", "shop/db", "TCP 80") == "allowed"
        assert verdict(state, "ops/scraper", "shop/db", "TCP 80") == "denied"
        assert verdict(state, "shop/api", "shop/db", "TCP 80") == "allowed"


@pytest.mark.parametrize(
    ("cidr", "hole"), [("10.0.0.0/8", "11.0.0.0/8"), ("10.0.0.0/8", "0.0.0.0/0"), ("10.0.0.0/8", "fd00::/8")]
)
def test_except_outside_its_cidr_is_invalid(cidr: str, hole: str) -> None:
    # API: "Except values will be rejected if they are outside the cidr range".
    with pytest.raises(InvalidField):
        block(cidr, hole)
