"""Pods are met on the interfaces of pod networks, and on no others."""

import pytest

from policy_controller.enforcer.interfaces import Link, LinkKind, Place, detect, pod_bridges

ALWAYS = {"azv*", "cali*", "cbr0", "cni0", "eni*", "gke*", "kube-bridge", "weave"}
BRIDGE, VETH, OTHER = LinkKind.BRIDGE, LinkKind.VETH, LinkKind.OTHER


@pytest.mark.parametrize(
    ("links", "beside"),
    [
        ([], set()),
        ([Link("eth0", OTHER), Link("docker0", BRIDGE), Link("veth1", VETH, Place.PORT)], set()),
        ([Link("veth1", VETH)], {"veth*"}),
        ([Link("vethernet", OTHER)], set()),
        ([Link("lxc12ab", VETH)], {"lxc*"}),
        ([Link("lxcbr0", BRIDGE), Link("lxc1", VETH, Place.PORT)], set()),
        ([Link("cni0", BRIDGE), Link("veth1", VETH, Place.PORT), Link("veth9", VETH)], set()),
        ([Link("docker0", BRIDGE), Link("veth1", VETH, Place.PORT), Link("veth9", VETH)], {"veth*"}),
    ],
)
def test_ambiguous_names_count_only_where_they_stand_alone_without_a_pod_bridge(
    links: list[Link], beside: set[str]
) -> None:
    assert detect(links) == tuple(sorted(ALWAYS | beside))


def test_a_pod_network_is_a_bridge_when_a_pattern_means_one() -> None:
    links = [Link("cni0", BRIDGE), Link("docker0", BRIDGE), Link("cali1", VETH), Link("br-pods", BRIDGE)]
    assert pod_bridges(links, ("cni0", "cali*")) == ("cni0",)
    assert pod_bridges(links, ("br-*", "cni0")) == ("br-pods", "cni0")
    assert pod_bridges(links, ("cali*",)) == ()
