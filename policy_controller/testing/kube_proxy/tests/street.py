"""What the tests here share: one node, and Services of every shape that it may have to serve."""

from ipaddress import ip_address, ip_network
from typing import Final

from compilers.model.words import Protocol
from policy_controller.testing.kube_proxy import Endpoint, ProxiedNode, ServicePort, TrafficPolicy

NODE: Final = ProxiedNode(
    "node-a",
    (ip_address("172.31.0.11"), ip_address("fd31::b")),
    (ip_network("10.244.1.0/24"), ip_network("fd10:244:1::/64")),
    (ip_network("10.96.0.0/16"), ip_network("fd96::/64")),
)
HERE: Final = tuple(Endpoint(ip_address(text), 8080, "node-a") for text in ("10.244.1.11", "fd10:244:1::b"))
THERE: Final = tuple(Endpoint(ip_address(text), 8443, "node-b") for text in ("10.244.2.11", "fd10:244:2::b"))


def one(number: int, endpoints: tuple[Endpoint, ...], **fields: object) -> ServicePort:
    """Service `number`, TCP port 80."""
    return ServicePort(
        "shop",
        f"service-{number}",
        Protocol.TCP,
        80,
        cluster_ips=(ip_address(f"10.96.0.{number}"), ip_address(f"fd96::{number}")),
        endpoints=endpoints,
        **fields,  # type: ignore[arg-type] # field values are the caller's
    )


LOCAL: Final = TrafficPolicy.LOCAL
SERVICES: Final = {
    "ClusterIP": one(1, HERE + THERE),
    "without endpoints": one(2, (), node_port=30002),
    "node port": one(3, HERE + THERE, node_port=30003),
    "node port, Local": one(4, HERE + THERE, node_port=30004, external=LOCAL),
    "node port, Local, none here": one(5, THERE, node_port=30005, external=LOCAL),
    "internal Local": one(6, HERE + THERE, internal=LOCAL),
    "internal Local, none here": one(7, THERE, internal=LOCAL),
    "both Local, none here": one(8, THERE, node_port=30008, external=LOCAL, internal=LOCAL),
    "affinity": one(9, HERE + THERE, affinity_seconds=10800),
    "external addresses": one(
        10, HERE + THERE, external=LOCAL, external_ips=(ip_address("198.51.100.7"), ip_address("2001:db8::7"))
    ),
    "SCTP": ServicePort("shop", "signal", Protocol.SCTP, 2905, (ip_address("10.96.0.20"),), HERE, "m3ua"),
    "UDP": ServicePort("kube-system", "kube-dns", Protocol.UDP, 53, (ip_address("fd96::10"),), THERE, "dns"),
    "headless": ServicePort("shop", "headless", Protocol.TCP, 80, (), HERE),
}
