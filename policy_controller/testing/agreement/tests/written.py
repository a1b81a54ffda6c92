"""Texts of policies, and who may reach whom under each: one row a behaviour that the text alone decides.

Knows YAML and verdicts. Sends nothing. S is the pod that a policy selects; shop/web and shop/db are in its namespace,
ops/web and ops/scraper in another, and none of these is isolated.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from compilers.parse.field import Origin

Row = tuple[str, str, str, str]
FILE, API = Origin.FILE, Origin.API
SERVICES: Final = ("TCP 80", "UDP 53", "SCTP 80", "ICMP")


@dataclass(frozen=True, slots=True)
class Case:
    """The text of a policy's `spec` without its selector, perhaps that of its pod's `spec`, and rows of connections."""

    rows: tuple[Row, ...]
    spec: str
    origin: Origin = FILE
    pod: str = ""

    @property
    def is_faulty(self) -> bool:
        """Whether something in it cannot be read."""
        return False


@dataclass(frozen=True, slots=True)
class FaultyCase(Case):
    """A case whose text has a fault, so that a side is closed."""

    @property
    def is_faulty(self) -> bool:
        """It has."""
        return True


def rows(text: str) -> Iterator[Row]:
    """`S < ops/web: TCP 80 TCP 81 !UDP 53` and the like, one a line: `<` from, `>` to, `!` denied."""
    for line in filter(None, map(str.strip, text.splitlines())):
        ends, _, services = line.partition(": ")
        _, way, other = ends.split()
        pair = (other, "S") if way == "<" else ("S", other)
        for service in services.split(", "):
            yield (*pair, service.removeprefix("!"), "denied" if service.startswith("!") else "allowed")


def case(spec: str, text: str, origin: Origin = FILE, pod: str = "") -> Case:
    return Case(tuple(rows(text)), spec, origin, pod)


def closed(spec: str, origin: Origin = FILE) -> Case:
    """The fault is in an ingress rule, or all is closed: nobody reaches the pod, although the rest of the text admits."""
    denied: Iterable[Row] = (
        (source, "S", "TCP 80", "denied") for source in ("shop/web", "ops/web", "outside")
    )
    return FaultyCase(tuple(denied), spec, origin)


ALL_IN: Final = "S < ops/web: TCP 80, UDP 53, SCTP 80, ICMP\nS < outside: TCP 80, ICMP"
NONE_IN: Final = "S < shop/web: !TCP 80\nS < ops/web: !TCP 80, !UDP 53, !SCTP 80, !ICMP\nS < outside: !TCP 80"
ALL_OUT: Final = "S > ops/web: TCP 80, UDP 53, SCTP 80, ICMP\nS > outside: TCP 80"
NONE_OUT: Final = "S > shop/web: !TCP 80\nS > ops/web: !TCP 80, !UDP 53, !ICMP\nS > outside: !TCP 80"
PORT_80: Final = "S < outside: TCP 80, !TCP 81\nS < ops/web: TCP 80, !UDP 80, !ICMP"

SELECTION: Final[Mapping[str, Case]] = {
    # API, policyTypes: "policies that contain an egress section are assumed to affect egress, and all policies (whether or
    # not they contain an ingress section) are assumed to affect ingress".
    "no policyTypes and no egress: ingress alone is isolated": case("", NONE_IN + "\n" + ALL_OUT),
    "no policyTypes and an egress rule: both are isolated": case(
        "egress: [{to: [{podSelector: {}}]}]", NONE_IN + "\nS > shop/web: TCP 80\nS > ops/web: !TCP 80"
    ),
    "no policyTypes and egress without a rule: ingress alone is isolated": case("egress: []", NONE_IN + "\n" + ALL_OUT),
    "policyTypes Egress: ingress rules have no effect": case(
        "policyTypes: [Egress]\ningress: [{from: [{podSelector: {matchLabels: {app: nobody}}}]}]", ALL_IN + "\n" + NONE_OUT
    ),
    # API, ingress: "If this field is empty then this NetworkPolicy does not allow any traffic".
    "ingress empty: isolated, nothing allowed": case("policyTypes: [Ingress]\ningress: []", NONE_IN),
    "ingress absent, type Ingress: isolated, nothing allowed": case("policyTypes: [Ingress]", NONE_IN),
    "ingress null: isolated, nothing allowed": case("policyTypes: [Ingress]\ningress: null", NONE_IN),
    # API, from and ports: "If this field is empty or missing, this rule matches all sources [...] all ports".
    "ingress with the empty rule: isolated, everything allowed": case("ingress: [{}]", ALL_IN),
    "egress with the empty rule: isolated, everything allowed": case("egress: [{}]", ALL_OUT + "\n" + NONE_IN),
    "from empty: every source": case("ingress: [{from: [], ports: [{port: 80}]}]", PORT_80),
    "from absent: every source": case("ingress: [{ports: [{port: 80}]}]", PORT_80),
    "to empty: every destination": case("egress: [{to: []}]", ALL_OUT),
    # Kubernetes' validation: "must specify a peer".
    "a peer with nothing is invalid": closed("ingress: [{from: [{}]}]"),
    "an item that is null is invalid": closed("ingress: [{from: [null]}]"),
    # API, podSelector: "Otherwise it selects the pods matching podSelector in the policy's own namespace".
    "podSelector alone: pods of the policy's own namespace": case(
        "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]", "S < shop/web: TCP 80, ICMP\nS < ops/web: !TCP 80"
    ),
    # API, namespaceSelector: "if present but empty, it selects all namespaces".
    "namespaceSelector empty: all pods and nothing outside the cluster": case(
        "ingress: [{from: [{namespaceSelector: {}}]}]", "S < shop/web: TCP 80\nS < ops/web: TCP 80\nS < outside: !TCP 80"
    ),
    "both selectors in one peer: AND": case(
        "ingress: [{from: [{namespaceSelector: {matchLabels: {team: ops}}, podSelector: {matchLabels: {app: web}}}]}]",
        "S < ops/web: TCP 80\nS < ops/scraper: !TCP 80\nS < shop/web: !TCP 80",
    ),
    "two peers: OR": case(
        "ingress: [{from: [{namespaceSelector: {matchLabels: {team: ops}}}, {podSelector: {matchLabels: {app: web}}}]}]",
        "S < ops/web: TCP 80\nS < ops/scraper: TCP 80\nS < shop/web: TCP 80\nS < shop/db: !TCP 80",
    ),
    # Kubernetes, labels: "[...] and all resources with no labels with the tier key".
    "NotIn matches what lacks the key": case(
        "ingress: [{from: [{podSelector: {matchExpressions: [{key: env, operator: NotIn, values: [prod]}]}}]}]",
        "S < shop/db: TCP 80\nS < shop/web: !TCP 80",
    ),
    "DoesNotExist matches what lacks the key": case(
        "ingress: [{from: [{podSelector: {matchExpressions: [{key: env, operator: DoesNotExist}]}}]}]",
        "S < shop/db: TCP 80\nS < shop/web: !TCP 80",
    ),
    # API: "If the operator is In or NotIn, the values array must be non-empty."
    "In with an empty list is invalid": closed(
        "ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: In, values: []}]}}]}]"
    ),
    "Exists with values is invalid": closed(
        "ingress: [{from: [{podSelector: {matchExpressions: [{key: app, operator: Exists, values: [web]}]}}]}]"
    ),
    # Kubernetes: "the value of the label is the namespace name".
    "a namespace named by kubernetes.io/metadata.name": case(
        "ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ops}}}]}]",
        "S < ops/web: TCP 80\nS < shop/web: !TCP 80",
    ),
    "an unknown field in a peer is invalid": closed("ingress: [{from: [{podSelector: {}, nodeSelector: {}}]}]"),
    "a fault in one rule closes the side although another admits": closed("ingress: [{}, {from: [{}]}]"),
    "a fault in ingress leaves egress as it is": FaultyCase(
        tuple(rows(NONE_IN + "\nS > shop/web: TCP 80\nS > ops/web: !TCP 80")),
        "ingress: [{from: [{}]}]\negress: [{to: [{podSelector: {}}]}]",
    ),
    "an unknown field of the spec closes both directions": FaultyCase(
        tuple(rows(NONE_IN + "\n" + NONE_OUT)), "policytypes: [Ingress]\ningress: [{}]\negress: [{}]"
    ),
}  # fmt: skip

HTTP_8080: Final = "containers: [{name: a, ports: [{name: http, containerPort: 8080}]}]"
PORTS: Final[Mapping[str, Case]] = {
    # API, ports: "If this field is empty or missing, this rule matches all ports (traffic not restricted by port)".
    "ports absent: every port of every protocol, ICMP included": case(
        "ingress: [{from: [{namespaceSelector: {}}]}]", "S < ops/web: TCP 80, TCP 65535, UDP 53, SCTP 80, ICMP"
    ),
    "ports empty: every port of every protocol, ICMP included": case(
        "ingress: [{from: [{namespaceSelector: {}}], ports: []}]", "S < ops/web: TCP 80, UDP 53, SCTP 80, ICMP"
    ),
    # API, protocol: "If not specified, this field defaults to TCP."
    "protocol absent: TCP": case(
        "ingress: [{ports: [{port: 80}]}]", "S < ops/web: TCP 80, !UDP 80, !SCTP 80, !TCP 81, !ICMP"
    ),
    # API, port: "If this field is not provided, this matches all port names and numbers."
    "protocol with no port: all ports of it and of it only": case(
        "ingress: [{ports: [{protocol: UDP}]}]", "S < ops/web: UDP 53, UDP 80, !TCP 53, !SCTP 80, !ICMP"
    ),
    # API, port: "This can either be a numerical or named port on a pod."
    "a port name in an ingress rule is the selected pod's number": case(
        "ingress: [{ports: [{port: http}]}]", "S < ops/web: TCP 8080, !TCP 80, !UDP 80", pod=HTTP_8080
    ),
    "a port name that the selected pod lacks admits nothing": case(
        "ingress: [{ports: [{port: http}]}]", "S < ops/web: !TCP 80, !TCP 8080"
    ),
    "a port name in an egress rule is each destination's number": case(
        "egress: [{ports: [{port: http}]}]",
        "S > shop/web: TCP 80, !TCP 8080\nS > shop/api: TCP 8080, !TCP 80\nS > shop/db: !TCP 80\nS > outside: !TCP 80",
    ),
    "an ipBlock peer of an egress rule has no port names": case(
        "egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: '::/0'}}], ports: [{port: http}]}]",
        "S > shop/web: !TCP 80\nS > outside: !TCP 80",
    ),
    "the same name twice: name and protocol decide, several numbers all match": case(
        "ingress: [{ports: [{port: http}]}]",
        "S < ops/web: TCP 8080, TCP 8443, !TCP 443, !UDP 443",
        pod="containers: [{name: a, ports: [{name: http, containerPort: 8080}, {name: http, containerPort: 443, protocol: UDP}]},"
        " {name: b, ports: [{name: http, containerPort: 8443}]}]",
    ),
    # Kubernetes, "Sidecar Containers": with restartPolicy Always an init container remains "running during the entire life".
    "ports of restartable init containers count, those of ordinary ones do not": case(
        "ingress: [{ports: [{port: http}]}]",
        "S < ops/web: TCP 9100, !TCP 8080",
        pod="containers: [{name: a}]\ninitContainers: [{name: b, restartPolicy: Always, ports: [{name: http, containerPort: 9100}]},"
        " {name: c, ports: [{name: http, containerPort: 8080}]}]",
    ),
    # API, endPort: "the range of ports from port to endPort if set, inclusive".
    "endPort is inclusive": case(
        "ingress: [{ports: [{port: 80, endPort: 443}]}]",
        "S < ops/web: TCP 80, TCP 81, TCP 443, !TCP 79, !TCP 8080, !UDP 80",
    ),
    "endPort with a port name is invalid": closed("ingress: [{ports: [{port: http, endPort: 90}]}]"),
    "endPort without port is invalid": closed("ingress: [{ports: [{endPort: 90}]}]"),
    "endPort less than port is invalid": closed("ingress: [{ports: [{port: 80, endPort: 79}]}]"),
    "a port number in quotes is invalid": closed("ingress: [{ports: [{port: '80'}]}]"),
    "a port number out of range is invalid": closed("ingress: [{ports: [{port: 65536}]}]"),
    "a protocol that is none is invalid": closed("ingress: [{ports: [{protocol: ICMP}]}]"),
    # API, port: "only traffic on the specified protocol AND port will be matched".
    "a rule for SCTP isolates for every protocol and never widens to TCP": case(
        "ingress: [{ports: [{protocol: SCTP, port: 80}]}]", "S < ops/web: SCTP 80, !SCTP 81, !TCP 80, !UDP 80, !ICMP"
    ),
}  # fmt: skip

TEN: Final = "S < 10.0.0.1: TCP 80\nS < 11.0.0.0: !TCP 80"
BLOCKS: Final[Mapping[str, Case]] = {
    # API, except: "a slice of CIDRs that should not be included within an IPBlock".
    "except subtracts from its own cidr only": case(
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {ipBlock: {cidr: 10.1.2.0/24}}]}]",
        "S < 10.0.0.1: TCP 80\nS < 10.1.3.3: !TCP 80\nS < 10.1.2.3: TCP 80\nS < 10.2.0.0: TCP 80",
    ),
    "a selector admits what except leaves out": case(
        "ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.244.0.0/16]}}, {podSelector: {matchLabels: {app: web}}}]}]",
        "S < shop/web: TCP 80\nS < 10.244.1.12: !TCP 80\nS < 203.0.113.9: TCP 80",
    ),
    "overlapping and repeated blocks are their union": case(
        "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/9}}, {ipBlock: {cidr: 10.0.0.0/8}}, {ipBlock: {cidr: 10.0.0.0/8}}]}]",
        "S < 10.200.0.1: TCP 80\n" + TEN,
    ),
    "host bits set: the network that is meant": case("ingress: [{from: [{ipBlock: {cidr: 10.1.2.3/8}}]}]", TEN),
    "0.0.0.0/0 is IPv4 only": case(
        "ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]", "S < 203.0.113.9: TCP 80\nS < 2001:db8:cafe::9: !TCP 80"
    ),
    "::/0 is IPv6 only": case(
        "ingress: [{from: [{ipBlock: {cidr: '::/0'}}]}]", "S < 203.0.113.9: !TCP 80\nS < 2001:db8:cafe::9: TCP 80"
    ),
    "a block that covers a pod's address matches that pod's traffic": case(
        "ingress: [{from: [{ipBlock: {cidr: 10.244.2.12/32}}]}]\negress: [{to: [{ipBlock: {cidr: 10.244.2.12/32}}]}]",
        "S < 10.244.2.12: TCP 80\nS < 10.244.2.11: !TCP 80\nS > 10.244.2.12: TCP 80\nS > 10.244.2.11: !TCP 80",
    ),
    # API, except: "Except values will be rejected if they are outside the cidr range".
    "except outside its cidr is invalid": closed(
        "ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/1, except: [192.0.2.0/24]}}, {ipBlock: {cidr: 128.0.0.0/1}}]}]"
    ),
    "ipBlock beside a selector is invalid": closed(
        "ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}, podSelector: {}}]}]"
    ),
    "IPv4-mapped IPv6 is invalid in a file": closed("ingress: [{from: [{ipBlock: {cidr: '::ffff:0.0.0.0/96'}}]}]"),
    "IPv4-mapped IPv6 from an API server is the IPv4 network": case(
        "ingress: [{from: [{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}]}]", TEN, API
    ),
    "leading zeros are invalid in a file": closed("ingress: [{from: [{ipBlock: {cidr: 010.0.0.0/8}}]}]"),
    "leading zeros from an API server are decimal": case(
        "ingress: [{from: [{ipBlock: {cidr: 010.0.0.0/8}}]}]", TEN, API
    ),
    "a zone id is invalid in a file": closed("ingress: [{from: [{ipBlock: {cidr: 'fe80::%eth0/64'}}]}]"),
    "a zone id is invalid from an API server": closed("ingress: [{from: [{ipBlock: {cidr: 'fe80::%eth0/64'}}]}]", API),
}  # fmt: skip

CASES: Final[Mapping[str, Case]] = SELECTION | PORTS | BLOCKS  # type: ignore[operator] # Mapping has no |, these are dicts

UNREADABLE_SELECTORS: Final[Mapping[str, str]] = {
    "an operator that is none": "podSelector: {matchExpressions: [{key: app, operator: Like, values: [web]}]}",
    "a label that is no string": "podSelector: {matchLabels: {app: 1}}",
    "no mapping": "podSelector: everything",
}
