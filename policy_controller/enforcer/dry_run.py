"""What applying the operator's snapshot would do to this node's kernel, as nft text; touches nothing.

Knows the first step of a conversation and the phases of an apply. Reads the tables, writes nowhere.
"""

import asyncio
from collections.abc import AsyncIterable, Iterator

import grpc.aio

from compilers.nftables.base import TABLE, Base
from compilers.nftables.departed import departing, with_departed
from compilers.nftables.plan import plan
from compilers.nftables.render import Tables, render
from compilers.nftables.transaction import Nft, Transaction, install
from compilers.nftables.words import TableFamily
from policy_controller.enforcer.comparison import holds_base, with_base
from policy_controller.enforcer.credentials import Way
from policy_controller.enforcer.departed import NONE
from policy_controller.enforcer.gates import NOBODY, Knowledge, UnknownGates
from policy_controller.enforcer.newcomers import NO_NEWCOMERS
from policy_controller.enforcer.reach import setback
from policy_controller.enforcer.residence import Residence, Residents
from policy_controller.enforcer.session import Session
from policy_controller.enforcer.stream import enforce_call
from policy_controller.wire import enforcement_pb2 as pb
from policy_controller.wire.channel import secure_connect
from policy_controller.wire.convert import decode_operator, encode_node


class NoSnapshotError(Exception):
    """The operator is not reached, refuses, or ends the stream without a word; the text says which."""


async def dry_run(
    node: str, way: Way, nft: Nft, residence: Residence, base: Base, gates: UnknownGates
) -> str:
    """The transactions, each under a comment that names its phase.

    Raises NotThereYet when CA or token are missing, for nobody waits here; NoSnapshotError when no snapshot comes; Refused
    or NotAcceptedError for what the operator says, and what Nft.list_table raises.
    """
    session, credentials = Session(node), way.files.read()
    async with secure_connect(way.operator, credentials.trust) as channel:
        call = enforce_call(channel, credentials.token)
        try:
            await call.write(encode_node(session.begin_stream()))
            message = await _first(call)
        except grpc.aio.AioRpcError as error:
            failed = setback(error.code(), error.details() or "", channel.get_state())
            raise NoSnapshotError(f"no stream to {way}: {failed.sentence}") from error
    rule_set = session.judge(decode_operator(message)).rule_set
    closed = gates.closed(Knowledge.CURRENT, rule_set, NOBODY, NO_NEWCOMERS, 0.0)
    return await asyncio.to_thread(lambda: _text(nft, residence, base, render(rule_set, base, closed)))


async def _first(messages: AsyncIterable[pb.OperatorMessage]) -> pb.OperatorMessage:
    async for message in messages:
        return message
    raise NoSnapshotError("the operator has ended the stream without a snapshot")


def _text(nft: Nft, residence: Residence, base: Base, desired: Tables) -> str:
    return "".join(
        f"# {name}\n{transaction.text()}"
        for name, transaction in _transactions(nft, residence, base, desired)
        if transaction.commands
    )


def _transactions(
    nft: Nft, residence: Residence, base: Base, desired: Tables
) -> Iterator[tuple[str, Transaction]]:
    inet, bridge = nft.list_table(TableFamily.INET, TABLE), nft.list_table(TableFamily.BRIDGE, TABLE)
    missing = [one for held, one in ((inet, base.inet), (bridge, base.bridge)) if not holds_base(held, one)]
    yield "base", Transaction(tuple(command for one in missing for command in install(one).commands))
    found = Tables(with_base(inet, base.inet), with_base(bridge, base.bridge))
    staying = NONE.after(departing(found, desired), _seen(residence))
    yield from plan(found, with_departed(desired, found, staying.addresses, base)).each()


def _seen(residence: Residence) -> Residents | None:
    try:
        return residence.look()
    except OSError:
        # As when it is enforced: who cannot be looked for stays.
        return None
