"""What applying the operator's snapshot would do to this node's kernel, as nft text; touches nothing.

Knows the first step of a conversation and the phases of an apply. Reads the tables, writes nowhere.
"""

import asyncio
from collections.abc import AsyncIterable, Iterator

from compilers.nftables.base import TABLE, Base
from compilers.nftables.plan import plan
from compilers.nftables.render import Tables, render
from compilers.nftables.transaction import Nft, Transaction, install
from compilers.nftables.words import TableFamily
from policy_controller.enforcer.comparison import holds_base, with_base
from policy_controller.enforcer.gates import NOBODY, Knowledge, UnknownGates
from policy_controller.enforcer.session import Session
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.channel import connect
from policy_controller.wire.convert import decode_operator, encode_node
from policy_controller.wire.enforcement_pb2_grpc import EnforcementStub


class NoSnapshotError(Exception):
    """The operator ended the stream without a word."""


async def dry_run(node: str, operator: str, nft: Nft, base: Base, gates: UnknownGates) -> str:
    """The transactions, each under a comment that names its phase.

    Raises NoSnapshotError, AioRpcError when the operator is not reached, Refused or NotAcceptedError for what it says,
    and what Nft.list_table raises.
    """
    session = Session(node)
    async with connect(operator) as channel:
        call = EnforcementStub(channel).Enforce()
        await call.write(encode_node(session.begin_stream()))
        message = await _first(call)
    rule_set = session.judge(decode_operator(message)).rule_set
    closed = gates.closed(Knowledge.CURRENT, rule_set, NOBODY, 0.0)
    return await asyncio.to_thread(lambda: _text(nft, base, render(rule_set, base, closed)))


async def _first(messages: AsyncIterable[pb.OperatorMessage]) -> pb.OperatorMessage:
    async for message in messages:
        return message
    raise NoSnapshotError("the operator has ended the stream without a snapshot")


def _text(nft: Nft, base: Base, desired: Tables) -> str:
    return "".join(
        f"# {name}\n{transaction.text()}"
        for name, transaction in _transactions(nft, base, desired)
        if transaction.commands
    )


def _transactions(nft: Nft, base: Base, desired: Tables) -> Iterator[tuple[str, Transaction]]:
    inet, bridge = nft.list_table(TableFamily.INET, TABLE), nft.list_table(TableFamily.BRIDGE, TABLE)
    missing = [one for held, one in ((inet, base.inet), (bridge, base.bridge)) if not holds_base(held, one)]
    yield "base", Transaction(tuple(command for one in missing for command in install(one).commands))
    yield from plan(Tables(with_base(inet, base.inet), with_base(bridge, base.bridge)), desired).each()
