"""Connections that are cut, as the table remembers them: elements of its sets for them, and what the base promises to have.

Knows which set is for which protocol and family. Knows nothing of why a connection is cut; the chains that look into the
sets are the base's own (nft_templates/inet.nft), and the kernel forgets the elements by itself.
"""

from collections.abc import Iterable
from typing import Final

from compilers.model.words import PROTOCOLS, Protocol
from compilers.nftables.base import TABLE
from compilers.nftables.table import Element, TableName
from compilers.nftables.transaction import AddElements, Command, DeleteElements, FlushSet, Transaction
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
        name = set_of(flow)
        if name is not None:
            elements.setdefault(name, set()).add(_element(flow))
    return Transaction(
        tuple(
            command
            for name, held in sorted(elements.items())
            for command in _anew(name, tuple(sorted(held, key=repr)))
        )
    )


def forgetting() -> Transaction:
    """The transaction after which nothing is remembered of what was cut."""
    return Transaction(tuple(FlushSet(GATES, name) for name in SETS))


def set_of(flow: Flow) -> str | None:
    """The name of the set for this flow; None where none is needed."""
    if flow.protocol not in WITH_PORTS:
        return None
    return f"cut{flow.source.version}{'tcp' if flow.protocol == TCP else ''}"


def _anew(name: str, elements: tuple[Element, ...]) -> tuple[Command, ...]:
    """Adding what is there does not begin its time anew; and only what is there can be deleted."""
    add = AddElements(GATES, name, elements)
    return add, DeleteElements(GATES, name, elements), add


def _element(flow: Flow) -> Element:
    return flow.source, flow.destination, flow.protocol, flow.source_port, flow.destination_port
