"""An enforcer that was killed before it carried out what ended hears it again from the operator, with a snapshot.

Both ends are the real ones, in one process: what the enforcer saved is all that the next one knows.
"""

from ipaddress import IPv4Address
from typing import Final

from policy_controller.controller.kinds import Kind
from policy_controller.controller.tests import objects
from policy_controller.enforcer.session import Session
from policy_controller.testing.agreement.tests.in_memory import InMemory
from policy_controller.testing.agreement.tests.test_many_changes import settle
from policy_controller.testing.clock import FakeClock
from policy_controller.wire.convert import decode_node, decode_operator, encode_node, encode_operator
from policy_controller.wire.messages import Hello, SnapshotMessage

NODE: Final = "node-a"
FAR: Final = IPv4Address("10.0.0.9")


def far(version: int) -> objects.Tree:
    """A pod of another node: no rule set of this one names it, and its connections may still be here."""
    return objects.pod("far", address=str(FAR), node="node-b", version=version)


async def test_a_node_whose_kernel_is_later_than_its_file_hears_what_ended_since_the_file() -> None:
    clock = FakeClock()
    async with InMemory(clock, (NODE,)) as path:
        path.store.put(Kind.NAMESPACE, objects.namespace("shop", version=1))
        path.store.put(Kind.POD, objects.pod("web", address="10.0.0.1", version=2))
        path.store.put(Kind.POD, far(3))
        await settle(path, clock)
        saved = path.followers[NODE].session.in_force
        assert saved is not None
        path.store.remove(Kind.POD, far(4))
        await settle(path, clock)
        assert path.is_settled()

        later = Session(NODE)
        later.was_in_force(saved)
        hello = decode_node(encode_node(later.begin_stream()))
        assert isinstance(hello, Hello)
        assert hello.in_force is not None
        stream = path.streams.open(NODE, hello.in_force.stands.pods)
        path.loop.wake()
        await settle(path, clock)
        message = stream.session.next(clock.now())
        assert isinstance(message, SnapshotMessage)
        assert later.judge(decode_operator(encode_operator(message))).ended == {FAR}
