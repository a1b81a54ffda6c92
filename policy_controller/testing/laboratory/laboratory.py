"""The laboratory: an underlay, nodes on it, pods in them, hosts outside; made, changed and removed.

Knows lives and names. What a pod network looks like is podnetwork.py's; who cleans up after a killed
owner is ownership.py's. Every method may be called from any thread (from asyncio: `asyncio.to_thread`);
one thread of the laboratory's own does the work, one call after the other.
"""

import contextlib
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from threading import Thread
from types import MappingProxyType, TracebackType
from typing import IO, Final, Self, TypeVar

from policy_controller.testing.laboratory import ownership
from policy_controller.testing.laboratory.addresses import (
    MOST_NODES,
    OUTSIDE4,
    OUTSIDE6,
    Address,
    next_host,
    node_addresses,
    pod_networks,
)
from policy_controller.testing.laboratory.hostgateway import HostGatewayBridge
from policy_controller.testing.laboratory.inhabitants import Node, OutsideHost, Pod, checked_name
from policy_controller.testing.laboratory.neighbours import entries_wanted, make_room
from policy_controller.testing.laboratory.netns import LaboratoryError, create, inside
from policy_controller.testing.laboratory.podnetwork import NetworkKind, PodNetwork
from policy_controller.testing.laboratory.requirements import check_requirements
from policy_controller.testing.laboratory.routed import RoutedLinks
from policy_controller.testing.laboratory.underlay import Underlay
from policy_controller.testing.laboratory.vxlan import VxlanBridge

T = TypeVar("T")
Stream = int | IO[bytes] | None

POD_NETWORKS: Final[Mapping[NetworkKind, Callable[[], PodNetwork]]] = {
    NetworkKind.BRIDGE: HostGatewayBridge,
    NetworkKind.VXLAN: VxlanBridge,
    NetworkKind.ROUTED: RoutedLinks,
}

GRACE_SECONDS: Final = 3.0
"""How long a spawned process may take to end after SIGTERM before it is killed."""


class Masquerade(Enum):
    """Whether a node hides its pods behind its own address towards hosts outside."""

    OFF = "off"
    ON = "on"


class Laboratory:
    """Nodes, pods and outside hosts as network namespaces; use it as a context manager.

    `network` says how pods connect.
    Raises LaboratoryError, in one sentence, when root, br_netfilter or a command is missing.
    All namespaces go when the block ends, and also when the owning process is killed. What stays is a
    higher limit of the machine's neighbour tables, if there were so many pods that it had to be raised.
    """

    def __init__(
        self, *, network: NetworkKind = NetworkKind.BRIDGE, masquerade: Masquerade = Masquerade.OFF
    ) -> None:
        check_requirements()
        ownership.sweep()
        self._network: PodNetwork = POD_NETWORKS[network]()
        self._masquerade = masquerade
        self._nodes: dict[str, Node] = {}
        self._pods: dict[str, Pod] = {}
        self._outside: dict[str, OutsideHost] = {}
        self._last_host: dict[str, int] = {}
        self._pods_made = 0
        self._spawned: list[subprocess.Popen[bytes]] = []
        self._claim: ownership.Claim | None = ownership.claim()
        self.name: Final = self._claim.name
        """Tells this laboratory from others that run at the same time."""
        self.prefix: Final = self._claim.prefix
        """What the names of all its namespaces begin with."""
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"laboratory-{self.name}")
        try:
            self._underlay: Final = self._work(lambda: Underlay.make(f"{self.prefix}underlay"))
        except BaseException:  # not ours to judge: what is built already must not stay
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes in the namespaces and remove the namespaces. Closing twice is closing once."""
        claim, self._claim = self._claim, None
        if claim is None:
            return
        try:
            self._worker.submit(_end, tuple(self._spawned)).result()
            ownership.demolish(claim.prefix)
        finally:
            self._worker.shutdown()
            claim.release()

    @property
    def pod_interfaces(self) -> tuple[str, ...]:
        """On which interfaces every node meets its pods, as the enforcer's setting of that name takes them."""
        return self._network.pod_interfaces

    def far_addresses(self, node: Node) -> tuple[Address, ...]:
        """The addresses with which the node's own packets come to pods of other nodes, IPv4 first."""
        return self._network.far_addresses(node)

    def near_addresses(self, node: Node) -> tuple[Address, ...]:
        """The addresses with which the node's own packets come to its own pods, IPv4 first."""
        return self._network.near_addresses(node)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """The nodes by name."""
        return MappingProxyType(self._nodes)

    @property
    def pods(self) -> Mapping[str, Pod]:
        """The pods that live now, by name."""
        return MappingProxyType(self._pods)

    @property
    def outside(self) -> Mapping[str, OutsideHost]:
        """The outside hosts by name."""
        return MappingProxyType(self._outside)

    def add_node(self, name: str) -> Node:
        """A new node, on the underlay and with routes from and to all others."""
        return self._work(lambda: self._add_node(name))

    def add_pod(self, node: Node, name: str, addresses: Iterable[Address] = ()) -> Pod:
        """A new pod on the node: with these addresses, or with the node's next free IPv4 and IPv6 pair.

        Packets flow when it returns. Raises LaboratoryError if the name or an address is taken.
        """
        return self._work(lambda: self._add_pod(node, name, tuple(addresses)))

    def remove_pod(self, pod: Pod) -> None:
        """Cut the pod off and remove its namespace; its addresses are free when it returns.

        Nothing else is told: conntrack entries and routes stay, as they do under a real CNI.
        """
        self._work(lambda: self._remove_pod(pod))

    def add_outside(self, name: str, addresses: Iterable[Address] = ()) -> OutsideHost:
        """A host beyond the nodes, with these addresses or the next of 203.0.113.0/24 and 2001:db8:cafe::/64."""
        return self._work(lambda: self._add_outside(name, tuple(addresses)))

    def run_in(self, namespace: str, work: Callable[[], T]) -> T:
        """Call `work` on a thread of its own that lives in the namespace; its result or its exception."""
        outcome: Future[T] = Future()

        def there() -> None:
            try:
                with inside(namespace):
                    outcome.set_result(work())
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                outcome.set_exception(error)

        Thread(target=there, name=f"in-{namespace}", daemon=True).start()
        return outcome.result()

    def spawn(
        self,
        namespace: str,
        argv: Sequence[str],
        *,
        stdout: Stream = None,
        stderr: Stream = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process in the namespace; it is killed when this process ends, however it ends.

        /sys is the machine's, not the namespace's: read links over netlink there.
        """

        def start() -> subprocess.Popen[bytes]:
            # The kernel's death signal comes when the *thread* that forked ends: ours lives until close.
            with inside(namespace):
                process = subprocess.Popen(  # noqa: S603 - argv is the caller's own program, no shell
                    ["setpriv", "--pdeathsig", "KILL", "--", *argv],  # noqa: S607 - util-linux, checked
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    env=None if env is None else dict(env),
                )
            self._spawned.append(process)
            return process

        return self._work(start)

    def _work(self, call: Callable[[], T]) -> T:
        if self._claim is None:
            raise LaboratoryError("the laboratory is closed")
        return self._worker.submit(call).result()

    def _add_node(self, name: str) -> Node:
        index = len(self._nodes) + 1
        if index > MOST_NODES:
            raise LaboratoryError(f"a laboratory holds at most {MOST_NODES} nodes")
        node = Node(name, self._vacant(name), index, *node_addresses(index), *pod_networks(index))
        create(node.namespace)
        self._underlay.connect_node(node)
        self._network.prepare(node)
        for other in self._nodes.values():
            self._network.join(node, other)
            self._network.join(other, node)
        for host in self._outside.values():
            self._underlay.join_outside(host, node)
        if self._masquerade is Masquerade.ON:
            self._underlay.masquerade(node)
        self._nodes[name] = node
        return node

    def _add_pod(self, node: Node, name: str, addresses: tuple[Address, ...]) -> Pod:
        if not addresses:
            host = self._next_host(node)
            addresses = (node.pods_ipv4[host], node.pods_ipv6[host])
        taken = {*node.gateways, *(address for pod in self._pods.values() for address in pod.addresses)}
        for address in addresses:
            if address in taken:
                raise LaboratoryError(f"{address} is taken")
        self._make_room(node)
        self._pods_made += 1
        pod = Pod(
            name=name,
            namespace=self._vacant(name),
            node=node,
            addresses=tuple(sorted(addresses, key=lambda address: address.version)),
            host_interface=f"{self._network.link_prefix}{self._pods_made:08x}",
        )
        create(pod.namespace)
        try:
            self._network.attach(node, pod)
        except BaseException:  # not ours to judge: what is built already must not stay
            ownership.remove_namespaces((pod.namespace,))
            raise
        self._pods[name] = pod
        return pod

    def _make_room(self, newcomer: Node) -> None:
        pods_of_nodes = Counter(pod.node.name for pod in self._pods.values())
        pods_of_nodes[newcomer.name] += 1
        make_room(entries_wanted(pods_of_nodes.values(), len(self._nodes) + len(self._outside)))

    def _next_host(self, node: Node) -> int:
        taken = {
            int(address) - int(network.network_address)
            for pod in self._pods.values()
            if pod.node is node
            for address in pod.addresses
            for network in node.pod_networks
            if address in network
        }
        host = next_host(taken, self._last_host.get(node.name, 1))
        if host is None:
            raise LaboratoryError(f"node {node.name} has no free pod address left")
        self._last_host[node.name] = host
        return host

    def _remove_pod(self, pod: Pod) -> None:
        if self._pods.get(pod.name) is not pod:
            raise LaboratoryError(f"there is no such pod {pod.name}")
        del self._pods[pod.name]
        self._network.detach(pod.node, pod)
        ownership.remove_namespaces((pod.namespace,))

    def _add_outside(self, name: str, addresses: tuple[Address, ...]) -> OutsideHost:
        if not addresses:
            host_number = 10 + len(self._outside)
            addresses = (OUTSIDE4[host_number], OUTSIDE6[host_number])
        host = OutsideHost(name, self._vacant(name), addresses)
        create(host.namespace)
        self._underlay.connect_outside(host, len(self._outside))
        for node in self._nodes.values():
            self._underlay.join_outside(host, node)
        self._outside[name] = host
        return host

    def _vacant(self, name: str) -> str:
        if name in self._nodes or name in self._pods or name in self._outside or name == "underlay":
            raise LaboratoryError(f"the name {name} is taken")
        return f"{self.prefix}{checked_name(name)}"


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """SIGTERM to all, and SIGKILL to those that stay; all are waited for."""
    for process in processes:
        process.terminate()
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
            continue
        process.kill()
        process.wait()
