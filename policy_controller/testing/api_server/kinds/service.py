"""Service: defaults, its addresses and node ports, and what an update carries over.

Addresses are the lowest free ones of the upper part of the ranges, where a real server looks for them, too.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

from policy_controller.testing.api_server.documents import JsonObject
from policy_controller.testing.api_server.errors import Fault, FieldFault
from policy_controller.testing.api_server.kinds.rules import Rules, immutable, section
from policy_controller.testing.api_server.names import port_number_faults
from policy_controller.testing.api_server.schemas.checks import missing
from policy_controller.testing.api_server.schemas.shapes import kind_named

RANGES: Final = {
    "IPv4": ipaddress.ip_network("10.96.0.0/16"),
    "IPv6": ipaddress.ip_network("fd00:10:96::/112"),
}
FIRST_DYNAMIC: Final = 257
NODE_PORTS: Final = range(30_000, 32_768)
FIRST_DYNAMIC_PORT: Final = 30_086
HEADLESS: Final = "None"
_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_WITH_NODE_PORTS: Final = frozenset({"LoadBalancer", "NodePort"})
_DUAL: Final = frozenset({"PreferDualStack", "RequireDualStack"})


def _begin(body: JsonObject) -> None:
    body["status"] = {"loadBalancer": {}}


def _shape(body: JsonObject) -> None:
    spec = section(body, "spec")
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports", []):
        port.setdefault("protocol", "TCP")
        if "port" in port:
            # API: "If this is not specified, the value of the 'port' field is used".
            port.setdefault("targetPort", port["port"])
    if kind == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in _WITH_NODE_PORTS:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    dual = spec.setdefault("ipFamilyPolicy", "SingleStack") in _DUAL
    families = spec.setdefault("ipFamilies", _families_of(spec))
    if dual and len(families) == 1:
        families.append("IPv6" if families[0] == "IPv4" else "IPv4")


def _families_of(spec: JsonObject) -> list[str]:
    given = [address for address in _addresses(spec) if address != HEADLESS]
    return ["IPv6" if ":" in address else "IPv4" for address in given] or ["IPv4"]


def _addresses(spec: JsonObject) -> list[str]:
    return spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])


def _claim(body: JsonObject, others: Iterator[JsonObject]) -> list[FieldFault]:
    spec = section(body, "spec")
    if spec["type"] == "ExternalName":
        return []
    specs = [section(other, "spec") for other in others]
    faults = [] if _addresses(spec) == [HEADLESS] else _claim_addresses(spec, specs)
    if _addresses(spec) == [HEADLESS]:
        spec["clusterIP"], spec["clusterIPs"] = HEADLESS, [HEADLESS]
    if spec["type"] in _WITH_NODE_PORTS:
        faults += _claim_ports(spec, specs)
    return faults


def _claim_addresses(spec: JsonObject, others: Sequence[JsonObject]) -> list[FieldFault]:
    taken = {address for other in others for address in _addresses(other)}
    addresses = _addresses(spec)
    faults = []
    for address in addresses:
        if address in taken:
            detail = f"failed to allocate IP {address}: provided IP is already allocated"
            faults.append(FieldFault("spec.clusterIPs", Fault.INVALID, detail, addresses))
    for family in spec["ipFamilies"][len(addresses) :]:
        network = RANGES[family] if family in RANGES else RANGES["IPv4"]
        candidates = (str(network[index]) for index in range(FIRST_DYNAMIC, network.num_addresses - 1))
        addresses.append(next(address for address in candidates if address not in taken))
    spec["clusterIP"], spec["clusterIPs"] = addresses[0], addresses
    return faults


def _claim_ports(spec: JsonObject, others: Sequence[JsonObject]) -> list[FieldFault]:
    taken = {port.get("nodePort") for other in others for port in other.get("ports", [])}
    faults = []
    for index, port in enumerate(spec.get("ports", [])):
        given = port.get("nodePort")
        at = f"spec.ports[{index}].nodePort"
        if not given:
            port["nodePort"] = next(
                number for number in NODE_PORTS[FIRST_DYNAMIC_PORT - 30_000 :] if number not in taken
            )
        elif given in taken:
            faults.append(FieldFault(at, Fault.INVALID, "provided port is already allocated", given))
        elif given not in NODE_PORTS:
            detail = "provided port is not in the valid range. The range of valid ports is 30000-32767"
            faults.append(FieldFault(at, Fault.INVALID, detail, given))
        taken.add(port["nodePort"])
    return faults


def _follow(before: JsonObject, after: JsonObject) -> list[FieldFault]:
    old, new = section(before, "spec"), section(after, "spec")
    if "ExternalName" in {old.get("type"), new.get("type")}:
        return []
    # A client that has not seen the allocated values does not take them away.
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if name in old and not new.get(name):
            new[name] = old[name]
    if new.get("type", "ClusterIP") not in _WITH_NODE_PORTS:
        return immutable(before, after, "spec.clusterIP")
    ports = {
        (port.get("protocol", "TCP"), port["port"]): port.get("nodePort") for port in old.get("ports", [])
    }
    for port in new.get("ports", []):
        known = ports.get((port.get("protocol", "TCP"), port.get("port")))
        if known:
            port.setdefault("nodePort", known)
    return immutable(before, after, "spec.clusterIP")


def _validate(body: JsonObject) -> list[FieldFault]:
    spec = body["spec"]
    faults = missing(body, kind_named("v1", "Service"), "spec")
    if spec["type"] not in _TYPES:
        words = "supported values: " + ", ".join(f'"{word}"' for word in _TYPES)
        faults.append(FieldFault("spec.type", Fault.NOT_SUPPORTED, words, spec["type"]))
    ports = spec.get("ports", [])
    if not ports and spec["type"] != "ExternalName" and _addresses(spec) != [HEADLESS]:
        faults.append(FieldFault("spec.ports", Fault.REQUIRED, ""))
    seen: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        if "port" in port:
            bad = port_number_faults(port["port"])
            faults += [FieldFault(f"{path}.port", Fault.INVALID, detail, port["port"]) for detail in bad]
        if len(ports) > 1 and not port.get("name"):
            faults.append(FieldFault(f"{path}.name", Fault.REQUIRED, ""))
        key = (port["protocol"], port.get("port"))
        if key in seen:
            faults.append(FieldFault(path, Fault.DUPLICATE, "", {"protocol": key[0], "port": key[1]}))
        seen.add(key)
    return faults


SERVICE: Final = Rules(begin=_begin, shape=_shape, validate=_validate, follow=_follow, claim=_claim)
