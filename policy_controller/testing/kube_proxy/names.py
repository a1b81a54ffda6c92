"""Names and quoted words of kube-proxy's rules: the one place where text of a Service becomes part of them.

Knows how kube-proxy names chains, byte by byte. Everything else in a rule is an address, a number or a word of ours.
"""

import base64
import hashlib
import re
from typing import Final

from compilers.model.words import Protocol
from policy_controller.testing.kube_proxy.services import Endpoint, InvalidService, ServicePort

PLAIN: Final = re.compile(r"[A-Za-z0-9 _.,:;/@()\[\]>-]*")
"""What needs no escape between double quotes, neither in nft (which has no escapes) nor in iptables-restore."""
LONGEST_NFT_NAME: Final = 240
"""kube-proxy's: nft's 255 less the longest prefix."""


def quoted(text: str) -> str:
    """The text as one word in double quotes. Raises InvalidService for what could end the word."""
    if not PLAIN.fullmatch(text):
        raise InvalidService(f"{text!r} cannot be quoted")
    return f'"{text}"'


def protocol_word(protocol: Protocol) -> str:
    """As both packet filters and kube-proxy's names spell it."""
    return protocol.value.lower()


def socket_text(endpoint: Endpoint) -> str:
    """`10.0.0.1:80` or `[fd00::1]:80`."""
    host = f"[{endpoint.address}]" if endpoint.address.version == 6 else str(endpoint.address)
    return f"{host}:{endpoint.port}"


def nft_base(service: ServicePort) -> str:
    """What the names of a Service port's nft chains end with."""
    word = protocol_word(service.protocol)
    return _nft_name(f"{service.namespace}/{service.name}/{word}/{service.port_name}")


def nft_endpoint_base(service: ServicePort, endpoint: Endpoint) -> str:
    """What the names of an endpoint's nft chain and affinity set end with."""
    word = protocol_word(service.protocol)
    # A colon cannot be part of an nft name.
    address = str(endpoint.address).replace(":", ".")
    path = f"{service.namespace}/{service.name}/{word}/{service.port_name}"
    return _nft_name(f"{path}__{address}/{endpoint.port}")


def iptables_chain(prefix: str, service: ServicePort) -> str:
    """`KUBE-SVC-` and the like with the hash of the Service port."""
    return prefix + _hash(service.title + protocol_word(service.protocol), 16)


def iptables_endpoint_chain(service: ServicePort, endpoint: Endpoint) -> str:
    """`KUBE-SEP-` with the hash of the Service port and the endpoint."""
    text = service.title + protocol_word(service.protocol) + socket_text(endpoint)
    return "KUBE-SEP-" + _hash(text, 16)


def _nft_name(text: str) -> str:
    name = f"{_hash(text, 8)}-{text}"
    return name if len(name) <= LONGEST_NFT_NAME else f"{name[: LONGEST_NFT_NAME - 3]}..."


def _hash(text: str, length: int) -> str:
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:length]
