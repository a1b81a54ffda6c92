"""Asks a running operator again and again how far some policies have come, until they are in force or time runs out.

Knows when a policy is in force as it was wanted, and how often to ask. Knows nothing of flags or of terminals.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final
from urllib.parse import urlencode

from policy_controller.cli.reach.admin import Ask, conversation
from policy_controller.cli.reach.policies import Held
from policy_controller.cli.reach.way import NotReached, Way
from policy_controller.cli.status_document import Policy, Status, Unreadable, read_status

PAUSES_SECONDS: Final = (0.2, 0.2, 0.3, 0.5, 0.7, 1.0)
"""Between questions; the last is repeated. Every answer costs the operator time in proportion to the cluster."""
AGAIN_SECONDS: Final = 1.0
"""Before an operator that is not reached, as while it is started anew, is looked for again."""
AT_ONCE: Final = 20
"""Policies that are asked about in one request: names have up to 317 characters, and a line of HTTP 8,190."""


@dataclass(frozen=True, slots=True)
class Patience:
    """For how many seconds to ask; 0 is once."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Told:
    """A policy and the last that is known of it."""

    wanted: Held
    policy: Policy | None
    not_ready: tuple[str, ...] = ()
    """Why the operator cannot know how the cluster is now; empty: it does."""

    @property
    def known(self) -> bool:
        """Whether the operator knows the wanted version, or a later one."""
        return self.policy is not None and 0 < self.wanted.version <= self.policy.resource_version

    @property
    def enforced(self) -> bool:
        """Whether that is in force on every node on which it isolates a pod."""
        known = self.known and not self.not_ready
        return known and self.policy is not None and self.policy.state in {"enforced", "unused"}

    @property
    def sentence(self) -> str:
        """The last state."""
        return f"networkpolicy/{self.wanted.name} of {self.wanted.namespace} {self._state()}"

    def _state(self) -> str:
        policy = self.policy
        if self.not_ready:
            return f"is not known to be enforced; the operator is not ready: {' '.join(self.not_ready)}"
        if self.wanted.version == 0:
            return "has a resourceVersion that is no number: versions cannot be compared"
        if policy is None or not self.known:
            return f"is not known to the operator in version {self.wanted.version} yet"
        if policy.state == "unused":
            return "isolates no pod"
        counted = f"{policy.enforced_on} of {policy.nodes} nodes"
        if policy.state == "enforced":
            return f"is enforced on {counted}"
        behind = "".join(f"; {one.node} {one.reason}" for one in policy.behind)
        if policy.state == "waiting":
            return f"is enforced on {counted}{behind}"
        wrong = "".join(f"; {fault.field or 'it'}: {fault.reason}" for fault in policy.faults)
        return f"cannot be enforced as written, so pods that it selects are closed{wrong}{behind}"


async def waited(
    wanted: Sequence[Held], patience: Patience, *, url: str | None, way: Way
) -> tuple[Told, ...]:
    """The last state of each. Raises NotReached when the operator could not be asked even once."""
    last: dict[Held, Told] = {}
    loop = asyncio.get_running_loop()
    until = loop.time() + patience.seconds

    async def talk(ask: Ask) -> None:
        for asked in count():
            pending = [one for one in wanted if one not in last or not last[one].enforced]
            last.update(await _asked(ask, pending))
            left = until - loop.time()
            if all(last[one].enforced for one in wanted) or left <= 0:
                return
            await asyncio.sleep(min(PAUSES_SECONDS[min(asked, len(PAUSES_SECONDS) - 1)], left))

    while True:
        try:
            await conversation(talk, url=url, way=way)
            return tuple(last[one] for one in wanted)
        except NotReached:
            left = until - loop.time()
            if left <= 0:
                if not last:
                    raise
                return tuple(last.get(one, Told(one, None)) for one in wanted)
        await asyncio.sleep(min(AGAIN_SECONDS, left))


async def _asked(ask: Ask, wanted: Iterable[Held]) -> Mapping[Held, Told]:
    found: dict[Held, Told] = {}
    ordered = tuple(wanted)
    for begin in range(0, len(ordered), AT_ONCE):
        some = ordered[begin : begin + AT_ONCE]
        query = urlencode([("policy", f"{one.namespace}/{one.name}") for one in some], safe="/")
        try:
            status = read_status(await ask(f"/status?{query}"))
        except Unreadable as fault:
            raise NotReached(str(fault)) from fault
        policies = {(policy.namespace, policy.name): policy for policy in status.policies}
        unready = _not_ready(status)
        found |= {one: Told(one, policies.get((one.namespace, one.name)), unready) for one in some}
    return found


def _not_ready(status: Status) -> tuple[str, ...]:
    """A picture of pods or policies that is not the cluster's shows them as enforced that are not."""
    unheard = () if status.synced or status.not_ready else ("It has not heard of the whole cluster yet.",)
    return (*status.not_ready, *unheard)
