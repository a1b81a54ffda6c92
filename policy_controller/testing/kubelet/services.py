"""Which Service leads to which pods: what an endpoint controller says, as kube-proxy takes it.

Pure. Source: the API's ServicePort and Service.spec.selector.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, Final

from compilers.model.words import Protocol
from policy_controller.testing.kube_proxy import Endpoint, ServicePort
from policy_controller.testing.kubelet.controllers import is_ending, is_ready
from policy_controller.testing.kubelet.relay import ADDRESSES, CLUSTER_IP, CLUSTER_PORT, PORT

Json = dict[str, Any]

HEADLESS: Final = "None"

API_SERVER: Final = ServicePort(
    namespace="default",
    name="kubernetes",
    port_name="https",
    protocol=Protocol.TCP,
    port=CLUSTER_PORT,
    cluster_ips=(ip_address(CLUSTER_IP),),
    endpoints=tuple(Endpoint(address, PORT) for address in ADDRESSES if address.version == 4),
)


def service_ports(services: Iterable[Json], pods: Iterable[Json]) -> tuple[ServicePort, ...]:
    """Every port of these Services and of the API server's own, with the pods that are ready for it."""
    known = list(pods)
    found = [API_SERVER]
    for service in services:
        found.extend(_ports(service, known))
    return tuple(found)


def _ports(service: Json, pods: Iterable[Json]) -> Iterator[ServicePort]:
    metadata, spec = service["metadata"], service["spec"]
    addresses = [text for text in spec.get("clusterIPs") or [] if text != HEADLESS]
    if not addresses or not spec.get("selector"):
        return
    ready = spec.get("publishNotReadyAddresses", False)
    chosen = [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == metadata["namespace"]
        and _selects(spec["selector"], pod)
        and not is_ending(pod)
        and (ready or is_ready(pod))
    ]
    for port in spec["ports"]:
        yield ServicePort(
            namespace=metadata["namespace"],
            name=metadata["name"],
            port_name=port.get("name", ""),
            protocol=Protocol(port.get("protocol", "TCP")),
            port=port["port"],
            cluster_ips=tuple(ip_address(text) for text in addresses),
            # A Service of one family leads to addresses of that family only.
            endpoints=tuple(
                one
                for one in _endpoints(port, chosen)
                if one.address.version in {ip_address(text).version for text in addresses}
            ),
        )


def _endpoints(port: Json, pods: Iterable[Json]) -> Iterator[Endpoint]:
    for pod in pods:
        number = _number(port, pod)
        for one in pod.get("status", {}).get("podIPs") or ():
            if number is not None:
                yield Endpoint(ip_address(one["ip"]), number, pod["spec"].get("nodeName"))


def _number(port: Json, pod: Json) -> int | None:
    """API: "If this is a string, it will be looked up as a named port in the target Pod's container ports"."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for container in pod["spec"]["containers"]:
        for known in container.get("ports") or ():
            same = known.get("protocol", "TCP") == port.get("protocol", "TCP")
            if known.get("name") == target and same:
                return int(known["containerPort"])
    return None


def _selects(selector: Mapping[str, str], pod: Json) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(name) == value for name, value in selector.items())
