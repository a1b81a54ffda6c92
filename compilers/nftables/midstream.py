"""Connections that are cut, as the table remembers them: elements of its sets for them, and what the base promises to have.

Knows which set is for which protocol and family. Knows nothing of why a connection is cut; the chains that look into the
sets are the base's own (nft_templates/inet.nft), and the kernel forgets the elements by itself.
"""

from collections.abc import Iterable
from typing import Final

from compilers.model.words import PROTOCOLS, Protocol
from compilers.nftables.base import TABLE
from compilers.nftables.table import Element, TableName
from compilers.nftables.transaction import AddElements, FlushSet, Transaction
from compilers.nftables.words import TableFamily
from compilers.ruleset.denial import Flow

GATES: Final = TableName(TableFamily.INET, TABLE)
TCP: Final = PROTOCOLS[Protocol.TCP].number
UDP_LITE: Final = 136
SETS: Final = ("cut4", "cut4tcp", "cut6", "cut6tcp")
WITH_PORTS: Final = frozenset({*(words.number for words in PROTOCOLS.values()), UDP_LITE})


def remembering(flows: Iterable[Flow]) -> Transaction:
    """The transaction after which the kernel takes no packet of these flows for the first one of a connection.

    Flows of protocols without ports are left out: an answer to ICMP makes no entry by itself.
    """
    elements: dict[str, set[Element]] = {}
    for flow in flows:
        if flow.protocol in WITH_PORTS:
            elements.setdefault(_set_of(flow), set()).add(_element(flow))
    return Transaction(
        tuple(
            AddElements(GATES, name, tuple(sorted(held, key=repr))) for name, held in sorted(elements.items())
        )
    )


def forgetting() -> Transaction:
    """The transaction after which nothing is remembered of what was cut."""
    return Transaction(tuple(FlushSet(GATES, name) for name in SETS))


def _set_of(flow: Flow) -> str:
    return f"cut{flow.source.version}{'tcp' if flow.protocol == TCP else ''}"


def _element(flow: Flow) -> Element:
    return flow.source, flow.destination, flow.protocol, flow.source_port, flow.destination_port
