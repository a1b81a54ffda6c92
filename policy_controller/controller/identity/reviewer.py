"""Whose a token is: the API server is asked, and its word is remembered.

Knows how long a word holds, and which node a bound pod is on. Knows nothing of streams, and keeps no token: only hashes.

A word is used without asking for FRESH_SECONDS. Then the API server is asked again; while it cannot be, its last word
holds until shortly before the token expires. So nodes that come back during an outage are served.

How much one caller may ask is counted by address while nobody knows who it is, and by node as long as a word holds: many
nodes may share an address, with each other and with strangers.
"""

import asyncio
import contextlib
import enum
import hashlib
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Final, Protocol

from compilers.model.cluster import Pod
from policy_controller.clock import Clock
from policy_controller.controller.api import TokenReviews
from policy_controller.controller.bounds import MOST_REVIEWS, PREFIX, Bound
from policy_controller.controller.identity.claims import Claims, claims_of, expiry, lifetime
from policy_controller.controller.identity.dates import Today
from policy_controller.controller.identity.patience import MOST, WHILE_SECONDS, Patience
from policy_controller.controller.identity.refusals import PASSING, Reason, Unwelcome
from policy_controller.hits import Hits
from policy_controller.logs.restraint import Restraint
from policy_controller.wire.channel import AUDIENCE
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

FRESH_SECONDS: Final = 300.0
"""So long is a word used without asking again; a pod that has gone since could use its token for this long."""
EARLY_SECONDS: Final = 30.0
"""So long before a token expires its word ends."""
UNREADABLE_SECONDS: Final = FRESH_SECONDS
"""So long a word holds when the token does not say when it expires, or says what cannot be."""
MOST_REMEMBERED: Final = 16_384
"""Words; the oldest go."""
MOST_AT_ONCE: Final = 4
"""Tokens of one caller that are checked at a time; a node has one enforcer."""
MOST_WAITING: Final = 4_096
"""Tokens that wait while as many are being checked as may be; more are not checked. Every node of a cluster may come at once."""


class Outcome(enum.Enum):
    """What came of asking the API server."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    FAILED = "failed"


class Pods(Protocol):
    """The operator's picture of the cluster, as far as it is asked for here."""

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod of this name, if it is known."""
        ...


@dataclass(frozen=True, slots=True)
class Enforcers:
    """Whom the operator serves: pods of this service account."""

    namespace: str
    account: str

    @property
    def user(self) -> str:
        """Their user name, as the API server writes it."""
        return f"system:serviceaccount:{self.namespace}:{self.account}"


@dataclass(frozen=True, slots=True)
class _Counted:
    """Who is counted: an address or a node, by the bound of its sort."""

    bound: Bound
    name: str

    def __str__(self) -> str:
        return f"node {self.name}" if self.bound is Bound.TOKENS_OF_NODE else "this address"


@dataclass(frozen=True, slots=True)
class _Word:
    claims: Claims
    said_at: float
    until: float


class Reviewer:
    """Tells which node's enforcer a token is of. Belongs to one event loop."""

    def __init__(
        self,
        reviews: TokenReviews,
        pods: Pods,
        enforcers: Enforcers,
        clock: Clock,
        today: Today,
        at_once: int = MOST_REVIEWS,
    ) -> None:
        """`at_once`: how many tokens the API server is asked about at a time."""
        self._reviews = reviews
        self._pods = pods
        self._enforcers = enforcers
        self._clock = clock
        self._today = today
        self._words: dict[bytes, _Word] = {}
        self._at_once: Counter[_Counted] = Counter()
        self._asking = asyncio.Semaphore(at_once)
        self._most = at_once + MOST_WAITING
        self._checked = 0
        """Tokens that are being checked or wait for it."""
        self._patience = Patience(clock)
        """With addresses."""
        self._offers = Patience(clock)
        """By node: tokens that open streams offered."""
        self.hits: Final = Hits(PREFIX, Bound)
        """How often callers met a bound, here and on their streams."""
        self.hits.read(Bound.REMEMBERED_REFUSALS, lambda: self._patience.forgotten + self._offers.forgotten)
        self._restraint = Restraint(clock.now)
        self.outcomes: Counter[Outcome] = Counter()

    async def identify(self, token: str, address: str) -> str:
        """The node of a caller at this address, by what is remembered or what the API server says; raises Unwelcome."""
        word = self._words.get(_name(token))
        if word is not None and self._clock.now() < min(word.said_at + FRESH_SECONDS, word.until):
            return self._node(word.claims)
        counted = self._counted(word, address)
        self._check(counted)
        self._at_once[counted] += 1
        self._checked += 1
        try:
            return await self._asked(token, word)
        except Unwelcome as unwelcome:
            if unwelcome.reason not in PASSING:
                # Whoever is refused is nobody who is known, whatever was said of the token before.
                self._patience.note(address)
            raise
        finally:
            self._checked -= 1
            self._at_once[counted] -= 1
            if not self._at_once[counted]:
                # A counter keeps what it once counted, and there are many callers.
                del self._at_once[counted]

    def bears_another(self, node: str) -> bool:
        """Whether one more token that a node's open stream offers may be reviewed; it counts. An honest node has one an hour."""
        if self._offers.is_exhausted(node):
            self.hits.note(Bound.TOKENS_OF_NODE)
            return False
        self._offers.note(node)
        return True

    async def review(self, token: str) -> str:
        """The node, by what the API server says now; raises Unwelcome."""
        name = _name(token)
        try:
            claims = await self._ask(token)
        except Unwelcome as unwelcome:
            if unwelcome.reason is not Reason.UNCHECKED:
                self._words.pop(name, None)
            raise
        self._remember(name, _Word(claims, self._clock.now(), self._holds_until(token)))
        return self._node(claims)

    def fresh_seconds(self, token: str) -> float:
        """How long the API server's word on the token is still used without asking; 0 when there is none."""
        word = self._words.get(_name(token))
        return 0.0 if word is None else max(0.0, word.said_at + FRESH_SECONDS - self._clock.now())

    def _counted(self, word: _Word | None, address: str) -> _Counted:
        if word is not None and self._clock.now() < word.until:
            # Whoever bears a token that the API server knew is of its node; of any other nobody knows who sends it.
            with contextlib.suppress(Unwelcome):
                return _Counted(Bound.TOKENS_OF_NODE, self._node(word.claims))
        return _Counted(Bound.TOKENS_OF_ADDRESS, address)

    def _check(self, counted: _Counted) -> None:
        """Raises Unwelcome while there is too much of one caller, or of all."""
        if self._at_once[counted] >= MOST_AT_ONCE:
            self.hits.note(counted.bound)
            raise Unwelcome(Reason.TOO_MANY, f"{MOST_AT_ONCE} tokens of {counted} are being checked")
        if self._checked >= self._most:
            self.hits.note(Bound.TOKENS)
            raise Unwelcome(Reason.TOO_MANY, f"{self._most} tokens are being checked or wait for it")
        if counted.bound is Bound.TOKENS_OF_ADDRESS and self._patience.is_exhausted(counted.name):
            words = f"the API server was asked for this address {MOST} times within {WHILE_SECONDS:.0f} s for nothing"
            self.hits.note(Bound.TOKENS_OF_ADDRESS)
            raise Unwelcome(Reason.TOO_MANY, words)

    async def _asked(self, token: str, word: _Word | None) -> str:
        try:
            return await self.review(token)
        except Unwelcome as unwelcome:
            if unwelcome.reason is Reason.UNCHECKED and word is not None and self._clock.now() < word.until:
                return self._node(word.claims)
            raise

    async def _ask(self, token: str) -> Claims:
        try:
            async with self._asking:
                review = await self._reviews.review_token(token, AUDIENCE)
        except Exception as fault:  # noqa: BLE001 - whatever the API server or the network does: it cannot be told now
            self.outcomes[Outcome.FAILED] += 1
            # What failed is for the operator's log: the caller may be anybody, and may come again and again.
            if self._restraint.allows():
                log.warning("could not ask whose a token is: %s", plain(repr(fault).replace(token, "TOKEN")))
            raise Unwelcome(Reason.UNCHECKED, "the API server cannot be asked about the token now") from None
        try:
            claims = claims_of(review, token, AUDIENCE, self._today().timestamp())
        except Unwelcome:
            self.outcomes[Outcome.REFUSED] += 1
            raise
        self.outcomes[Outcome.ACCEPTED] += 1
        return claims

    def _node(self, claims: Claims) -> str:
        if claims.user != self._enforcers.user:
            words = f"the token is of {claims.user}, and only {self._enforcers.user} is served"
            raise Unwelcome(Reason.OTHER_ACCOUNT, words)
        if claims.node is not None:
            return claims.node
        if claims.pod is None:
            raise Unwelcome(Reason.NO_NODE, "the token is bound to no node and to no pod")
        # Kubernetes before 1.30 does not say the node; the pod's own does not change.
        pod = self._pods.pod(self._enforcers.namespace, claims.pod.name)
        if pod is None or pod.uid != claims.pod.uid or pod.node is None:
            words = f"the pod {claims.pod.name} that the token is bound to is not known on any node yet"
            raise Unwelcome(Reason.UNKNOWN_POD, words)
        return pod.node

    def _holds_until(self, token: str) -> float:
        expires, whole, now = expiry(token), lifetime(token), self._clock.now()
        left = None if expires is None else expires - self._today().timestamp()
        if left is None or left <= 0.0:
            # The API server has just found it good: if it has expired by this clock, this clock is ahead.
            return now + UNREADABLE_SECONDS
        # By a clock that is behind it would have more than it was given.
        return now + (left if whole is None else min(left, whole)) - EARLY_SECONDS

    def _remember(self, name: bytes, word: _Word) -> None:
        # In the order in which they were said, so that the oldest go: what has expired is never used, and need not be looked for.
        self._words.pop(name, None)
        self._words[name] = word
        if len(self._words) > MOST_REMEMBERED:
            self.hits.note(Bound.REMEMBERED_TOKENS)
            del self._words[next(iter(self._words))]


def _name(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
