"""Trees for tests: well-formed policies as models and as API objects, and any JSON at all."""

import ipaddress
from typing import Any

from hypothesis import strategies as st

from compilers.model.block import IpBlock
from compilers.model.policy import NetworkPolicy, Peer, PolicyRule, SelectorPeer, Side
from compilers.model.port import PortMatch
from compilers.model.selector import TAKES_VALUES, LabelSelector, Operator, Requirement
from compilers.model.words import Direction, Network, Protocol

Tree = dict[str, Any]

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)

_KEYS = st.sampled_from(["app", "tier", "example.com/app", "on"])
_VALUES = st.sampled_from(["", "web", "db", "yes", "1"])
_REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        _KEYS,
        st.sampled_from(sorted(TAKES_VALUES, key=str)),
        st.lists(_VALUES, min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Requirement, _KEYS, st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST])),
)
SELECTORS = st.builds(
    LabelSelector,
    st.dictionaries(_KEYS, _VALUES, max_size=2).map(lambda labels: tuple(labels.items())),
    st.lists(_REQUIREMENTS, max_size=2).map(tuple),
)


def _network(base: Network, prefix: int, number: int) -> Network:
    return type(base)((int(base.network_address) | number, prefix), strict=False)


@st.composite
def _blocks(draw: st.DrawFn) -> IpBlock:
    base = ipaddress.ip_network(draw(st.sampled_from(["10.0.0.0/8", "2001:db8::/32", "0.0.0.0/0"])))
    width = base.max_prefixlen - base.prefixlen
    deeper = st.builds(
        _network,
        st.just(base),
        st.integers(base.prefixlen + 1, base.max_prefixlen),
        st.integers(0, 2**width - 1),
    )
    return IpBlock(base, tuple(draw(st.lists(deeper, max_size=2))))


@st.composite
def _selector_peers(draw: st.DrawFn) -> SelectorPeer:
    pods, namespaces = draw(st.none() | SELECTORS), draw(st.none() | SELECTORS)
    return SelectorPeer(LabelSelector() if pods is namespaces else pods, namespaces)


@st.composite
def _ports(draw: st.DrawFn) -> PortMatch:
    protocol = draw(st.sampled_from(Protocol))
    port: int | str | None = draw(st.none() | st.integers(1, 65535) | st.sampled_from(["http", "dns-tcp"]))
    end = draw(st.none() | st.integers(port, 65535)) if isinstance(port, int) else None
    return PortMatch(protocol, port, end)


def _optional(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(items, max_size=3).map(tuple)


RULES = st.builds(PolicyRule, peers=_optional(_selector_peers() | _blocks()), ports=_optional(_ports()))
SIDES = st.dictionaries(
    st.sampled_from(Direction),
    st.lists(RULES, max_size=3).map(lambda rules: Side(rules=tuple(rules))),
    min_size=1,
)
POLICIES = st.builds(
    NetworkPolicy,
    namespace=st.just("shop"),
    name=st.sampled_from(["web", "allow.dns"]),
    uid=st.uuids().map(str),
    subject=SELECTORS,
    sides=SIDES,
)


def policy_tree(policy: NetworkPolicy) -> Tree:
    """The policy as the API server holds it."""
    spec: Tree = {
        direction.field: [_rule_tree(rule, direction) for rule in side.rules]
        for direction, side in policy.sides.items()
    }
    assert policy.subject is not None
    spec |= {
        "podSelector": _selector_tree(policy.subject),
        "policyTypes": [direction.value for direction in policy.sides],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": policy.namespace, "name": policy.name, "uid": policy.uid},
        "spec": spec,
    }


def _rule_tree(rule: PolicyRule, direction: Direction) -> Tree:
    tree: Tree = {}
    if rule.peers is not None:
        tree[direction.peer_field] = [_peer_tree(peer) for peer in rule.peers]
    if rule.ports is not None:
        tree["ports"] = [_port_tree(port) for port in rule.ports]
    return tree


def _peer_tree(peer: Peer) -> Tree:
    if isinstance(peer, IpBlock):
        return {"ipBlock": {"cidr": str(peer.cidr), "except": [str(block) for block in peer.excepts]}}
    selectors = {"podSelector": peer.pod_selector, "namespaceSelector": peer.namespace_selector}
    return {name: _selector_tree(value) for name, value in selectors.items() if value is not None}


def _port_tree(port: PortMatch) -> Tree:
    fields = {"protocol": port.protocol.value, "port": port.port, "endPort": port.end_port}
    return {name: value for name, value in fields.items() if value is not None}


def _selector_tree(selector: LabelSelector) -> Tree:
    return {
        "matchLabels": dict(selector.match_labels),
        "matchExpressions": [
            {"key": item.key, "operator": item.operator.value, "values": list(item.values)}
            for item in selector.match_expressions
        ],
    }


def policy_of(**spec: object) -> Tree:
    """A policy `shop/web` with this spec, as in a file."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": spec,
    }
