"""What a node lacks is said in one sentence each, with the remedy."""

import platform
from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from compilers.nftables.transaction import NftRejectedError, Rejection, Transaction
from policy_controller.enforcer.interfaces import Link, LinkKind, Place
from policy_controller.enforcer.preflight import OLDEST_KERNEL, Weight, findings, kernel_findings
from policy_controller.enforcer.surroundings import BRIDGE_SETTINGS, Surroundings, look_around
from policy_controller.enforcer.tests.states import base
from policy_controller.testing.fake_nft import FakeNft
from policy_controller.testing.namespaces import PrivateNamespace

CALLS = {"bridge-nf-call-iptables": 1, "bridge-nf-call-ip6tables": 1}
ALL_WELL = Surroundings(
    1 << 12, (Link("cni0", LinkKind.BRIDGE), Link("eth0", LinkKind.OTHER)), CALLS, "6.1.0-18-amd64"
)
MAJOR, MINOR = OLDEST_KERNEL


def test_nothing_is_said_when_all_is_well() -> None:
    assert findings(ALL_WELL, ("cni0",)) == ()


@pytest.mark.parametrize(
    ("around", "weight", "words"),
    [
        (
            replace(ALL_WELL, capabilities=~(1 << 12)),
            Weight.FATAL,
            ("CAP_NET_ADMIN is missing", "capabilities"),
        ),
        (
            replace(ALL_WELL, release=f"{MAJOR}.{MINOR - 1}.9"),
            Weight.NOT_READY,
            (f"{MAJOR}.{MINOR - 1}.9", f"{MAJOR}.{MINOR} is the oldest"),
        ),
        (replace(ALL_WELL, release="?\n"), Weight.NOT_READY, ("?\\n", "upgrade")),
        (replace(ALL_WELL, bridge_calls=None), Weight.NOT_READY, ("(cni0)", "modprobe br_netfilter")),
        (
            replace(ALL_WELL, bridge_calls=CALLS | {"bridge-nf-call-ip6tables": 0}),
            Weight.NOT_READY,
            ("(cni0)", "sysctl -w net.bridge.bridge-nf-call-ip6tables=1"),
        ),
        (
            replace(ALL_WELL, links=(Link("kube-ipvs0", LinkKind.OTHER),)),
            Weight.NOT_READY,
            ("IPVS", "nftables or iptables"),
        ),
    ],
)
def test_what_is_missing_is_named_with_the_remedy(
    around: Surroundings, weight: Weight, words: tuple[str, str]
) -> None:
    (finding,) = findings(around, ("cni0",))
    assert finding.weight is weight
    assert all(word in finding.sentence for word in words)
    assert "\n" not in finding.sentence


@pytest.mark.parametrize("release", [f"{MAJOR}.{MINOR}.0", f"{MAJOR}.{MINOR}", f"{MAJOR + 1}.0.0-1-amd64"])
def test_a_kernel_of_the_oldest_version_or_later_is_well(release: str) -> None:
    assert findings(replace(ALL_WELL, release=release), ("cni0",)) == ()


def test_a_routed_pod_network_needs_no_br_netfilter() -> None:
    links = (Link("cali1", LinkKind.VETH), Link("docker0", LinkKind.BRIDGE))
    around = replace(ALL_WELL, links=links, bridge_calls=None)
    assert findings(around, ("cali*",)) == ()


class OldKernel(FakeNft):
    """A kernel that lacks some part of nf_tables."""

    def check(self, transaction: Transaction) -> None:
        raise NftRejectedError(
            Rejection.INVALID, "Operation not supported", 3, transaction.commands[3].text()
        )


def test_a_kernel_that_does_not_take_the_base_is_said() -> None:
    assert kernel_findings(FakeNft(), base()) == ()
    (finding,) = kernel_findings(OldKernel(), base())
    assert finding.weight is Weight.FATAL
    assert "modprobe nf_tables" in finding.sentence


@pytest.mark.kernel
def test_links_and_settings_are_those_of_the_callers_namespace() -> None:
    def in_namespace() -> Surroundings:
        with IPRoute() as route:
            route.link("add", ifname="cni0", kind="bridge")
            route.link("add", ifname="veth1", kind="veth", peer="veth2")
            bridge, port = (route.link_lookup(ifname=name)[0] for name in ("cni0", "veth1"))
            route.link("set", index=port, master=bridge)
        if BRIDGE_SETTINGS.exists():
            (BRIDGE_SETTINGS / "bridge-nf-call-iptables").write_text("0")
        return look_around()

    home = look_around()
    with PrivateNamespace() as network:
        around = network.run(in_namespace)

    assert {link for link in around.links if link.name != "lo"} == {
        Link("cni0", LinkKind.BRIDGE),
        Link("veth1", LinkKind.VETH, Place.PORT),
        Link("veth2", LinkKind.VETH),
    }
    assert around.capabilities >> 12 & 1
    assert around.release == platform.release()
    if Path("/proc/sys/net/bridge").exists():
        assert around.bridge_calls is not None
        assert around.bridge_calls["bridge-nf-call-iptables"] == 0
    assert look_around().bridge_calls == home.bridge_calls
