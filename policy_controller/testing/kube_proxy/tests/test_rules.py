"""The rules of both modes: as text, and as the kernel holds them after one load and after several."""

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, permutations

import pytest

from compilers.model.words import Family
from policy_controller.testing.kube_proxy import (
    KubeProxy,
    KubeProxyError,
    Mode,
    ServicePort,
    UnfitKernelError,
    iptables,
    nftables,
)
from policy_controller.testing.kube_proxy.tests.street import NODE, SERVICES
from policy_controller.testing.laboratory import Laboratory, inside

ALL = tuple(SERVICES.values())
LISTINGS = {
    Mode.NFTABLES: (["nft", "list", "table", "ip", "kube-proxy"], ["nft", "list", "table", "ip6", "kube-proxy"]),
    Mode.IPTABLES_NFT: (["iptables-nft-save"], ["ip6tables-nft-save"]),
    Mode.IPTABLES_LEGACY: (["iptables-legacy-save"], ["ip6tables-legacy-save"]),
}  # fmt: skip
EMPTY_CHAIN = re.compile(r"\n\tchain [a-z]+-[A-Z2-7]{8}-\S+ \{\n\t\}\n")
AFFINITY_SET = re.compile(r"\n\tset affinity-[^}]*\}\n")
VOLATILE = re.compile(r"^#.*\n|\[\d+:\d+\]", re.MULTILINE)


def texts(services: tuple[ServicePort, ...]) -> list[str]:
    return [
        nftables.rules(NODE, services),
        *(iptables.rules(NODE, services, family) for family in Family),
    ]


def test_the_same_services_give_the_same_text_whatever_their_order() -> None:
    some = ALL[:4]
    expected = texts(some)
    assert all(texts(order) == expected for order in permutations(some))


def test_a_headless_service_changes_nothing() -> None:
    assert texts((*ALL[:3], SERVICES["headless"])) == texts(ALL[:3])


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with Laboratory() as laboratory:
        yield laboratory.add_node("node-a").namespace


@pytest.fixture(params=Mode, ids=lambda mode: mode.value)
def proxy(request: pytest.FixtureRequest, namespace: str) -> Iterator[KubeProxy]:
    proxy = KubeProxy(request.param, namespace, NODE)
    try:
        proxy.sync(())
    except UnfitKernelError as reason:
        pytest.skip(str(reason))
    yield proxy
    proxy.remove()


@pytest.fixture
def held(proxy: KubeProxy, namespace: str) -> Callable[[], list[str]]:
    """What the kernel holds for each family, without counters, and without what a full sync leaves behind."""

    def listed() -> list[str]:
        found = []
        for words in LISTINGS[proxy.mode]:
            with inside(namespace):
                done = subprocess.run(words, capture_output=True, text=True, check=True)  # noqa: S603 - fixed programs
            text = done.stdout
            for volatile in (VOLATILE, EMPTY_CHAIN, AFFINITY_SET):
                while volatile.search(text):
                    text = volatile.sub("", text)
            found.append("\n".join(sorted(text.splitlines())))
        return found

    return listed


@pytest.mark.kernel
def test_every_shape_of_service_loads_alone_and_with_all_others(
    proxy: KubeProxy, held: Callable[[], list[str]]
) -> None:
    nothing = held()
    for service in ALL:
        proxy.sync([service])
        assert (held() == nothing) is (service is SERVICES["headless"])
    proxy.sync(ALL)


@pytest.mark.kernel
def test_what_the_kernel_holds_depends_on_the_services_not_on_those_before(
    proxy: KubeProxy, held: Callable[[], list[str]]
) -> None:
    proxy.sync(ALL[:2])
    first = held()
    for before in combinations(ALL, len(ALL) - 1):
        proxy.sync(before)
    proxy.sync(ALL)
    proxy.sync(ALL[:2])
    assert held() == first
    proxy.sync(ALL[:2])
    assert held() == first


@pytest.mark.kernel
def test_rules_are_removed_and_can_come_again(proxy: KubeProxy, held: Callable[[], list[str]]) -> None:
    proxy.sync(ALL)
    full = held()
    proxy.remove()
    proxy.remove()
    proxy.sync(ALL)
    assert held() == full


@pytest.mark.kernel
def test_rules_that_a_program_refuses_are_an_error_that_names_it(namespace: str) -> None:
    service = SERVICES["node port"]
    # One address and port can lead to one Service only.
    rival = replace(service, name="rival")
    proxy = KubeProxy(Mode.NFTABLES, namespace, NODE)
    with pytest.raises(KubeProxyError, match=r"nft: .*File exists"):
        proxy.sync([service, rival])


@pytest.mark.parametrize("mode", Mode, ids=lambda mode: mode.value)
def test_a_program_that_is_missing_is_no_fault_of_the_kernel(
    mode: Mode, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise its tests would be skipped, with a reason that is not true."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(KubeProxyError, match="is missing: install the package") as caught:
        KubeProxy(mode, namespace, NODE).sync(())
    assert not isinstance(caught.value, UnfitKernelError)
