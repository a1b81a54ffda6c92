"""One stream's token while the stream lasts: checked again from time to time, and exchanged for a fresh one.

Knows when to ask again, and that a stream is of one node. Knows nothing of gRPC or of what the stream carries.
"""

import asyncio
import logging
import random
from typing import Final

from policy_controller.clock import Clock, wait_for
from policy_controller.controller.identity.refusals import PASSING, Reason, Unwelcome
from policy_controller.controller.identity.reviewer import Reviewer

log = logging.getLogger(__name__)

REVIEW_SECONDS: Final = 300.0
"""Between two reviews of a stream's token; shortened by up to a fifth by chance, so that not all come at once."""
RETRY_SECONDS: Final = 20.0
"""After a review that the API server did not answer; lengthened by up to half by chance."""


class Caller:
    """Who a stream belongs to."""

    def __init__(self, reviewer: Reviewer, token: str, node: str, clock: Clock) -> None:
        self.node = node
        self._reviewer = reviewer
        self._token = token
        self._clock = clock
        self._offered: str | None = None
        self._wake = asyncio.Event()

    def offer(self, token: str) -> None:
        """The node has a fresh token, and goes by that one from now on."""
        self._offered = token
        self._wake.set()

    def check(self, node: str) -> None:
        """Raises Unwelcome unless the token is of this node."""
        if node != self.node:
            words = f"the token is of an enforcer on node {self.node}, and not on {node}"
            raise Unwelcome(Reason.OTHER_NODE, words)

    async def stay(self) -> None:
        """Goes on for ever; raises Unwelcome when the API server says that the caller may no longer be served."""
        # The stream may have begun on a word that is nearly as old as one may be.
        due = self._clock.now() + min(_next_review(), self._reviewer.fresh_seconds(self._token))
        while True:
            await wait_for(self._wake, self._clock, max(0.0, due - self._clock.now()))
            self._wake.clear()
            if not self._exchanged() and self._clock.now() < due:
                continue
            try:
                self.check(await self._reviewer.review(self._token))
            except Unwelcome as unwelcome:
                if unwelcome.reason not in PASSING:
                    raise
                log.warning(
                    "node %s stays connected though its token could not be checked: %s", self.node, unwelcome
                )
                pause = RETRY_SECONDS * random.uniform(1.0, 1.5)  # noqa: S311 - spreads load, no secret
            else:
                pause = _next_review()
            due = self._clock.now() + pause

    def _exchanged(self) -> bool:
        """Whether there is a fresh token to go by. Who offers too many keeps the one before, which is reviewed no later."""
        offered, self._offered = self._offered, None
        if offered is None or not self._reviewer.bears_another(self.node):
            return False
        self._token = offered
        return True


def _next_review() -> float:
    return REVIEW_SECONDS * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load, no secret
