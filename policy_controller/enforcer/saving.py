"""The saved rule set: what was last in force, kept in a file, so that it outlives the enforcer and the node's kernel.

Knows when the file is read and written, and that nothing depends on it: what cannot be read counts as not there, and what
cannot be written is told. Knows nothing of what is done with it (enforcement.py) or of its bytes (wire/saved.py).
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from compilers.model.words import Address
from compilers.ruleset.digest import digest_of
from policy_controller.clock import Clock, wait_for, within
from policy_controller.enforcer.disk import (
    TROUBLES,
    DiskTrouble,
    NotOursError,
    Place,
    TooLargeError,
    replace_file,
)
from policy_controller.enforcer.metrics import Metrics
from policy_controller.enforcer.session import Generation
from policy_controller.wire.messages import SnapshotMessage, Stands
from policy_controller.wire.refused import Refused, plain
from policy_controller.wire.saved import MOST_BYTES, Flaw, UnfitError, decode_saved, encode_saved

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Content = tuple[int, Stands, frozenset[Address]]
"""What two generations differ in that are not saved alike: digest, versions, and the addresses whose connections must end."""

NAME: Final = "rule-set"
"""Of the file."""

PAUSE_SECONDS: Final = 10.0
"""After a write there is none for so long: what changes meanwhile is written together."""

PAUSE: Final = 20.0
"""Nor for so many times as long as it took: making the bytes of a large rule set takes time that acks need."""

AGAIN_SECONDS: Final = 30.0
"""Until the next attempt after one that failed; twice as many each time, up to LONGEST_AGAIN."""

LONGEST_AGAIN: Final = 300.0

READ_SECONDS: Final = 10.0
"""How long reading may take: the operator is not spoken to before."""

WRITE_SECONDS: Final = 60.0

LAST_SECONDS: Final = 3.0
"""How long the last write may take when the enforcer ends."""


class NotSavedError(Exception):
    """What is in force cannot be written; the text is safe to print."""

    def __init__(self, trouble: DiskTrouble, reason: str) -> None:
        super().__init__(plain(reason))
        self.trouble = trouble


class Saving:
    """The file of one node. Use from one event loop; whatever touches the disk runs in a thread of its own."""

    def __init__(self, place: Place, node: str, clock: Clock, metrics: Metrics) -> None:
        self._place = place
        self._node = node
        self._clock = clock
        self._metrics = metrics
        # Of its own: a disk may hang, and neither the kernel's work nor the loop's may wait for it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="saving")
        self._held: Content | None = None
        """What the file holds; None when it holds nothing that is fit."""
        self._off = False
        """Whether the file says that enforcement is off."""
        self._refused = False
        self._trouble: str | None = None
        self._failing_since: float | None = None
        self._failures = 0
        self._took = 0.0
        """How long the last write took, in seconds."""

    @property
    def refused(self) -> bool:
        """Whether a file was found that must not be used."""
        return self._refused

    @property
    def trouble(self) -> str | None:
        """Why what is in force is not in the file, in one sentence; None when it is, or will be in a moment."""
        return self._trouble

    def failing_seconds(self) -> float:
        """For how long writing has failed; 0 while it does not."""
        return 0.0 if self._failing_since is None else self._clock.now() - self._failing_since

    async def read(self) -> Generation | None:
        """What the file holds; None when there is none, or when it must not be used, which is told."""
        try:
            saved = await self._in_thread(READ_SECONDS, self._read)
        except (UnfitError, TimeoutError) as fault:
            late = UnfitError(Flaw.UNREADABLE, f"could not be read within {READ_SECONDS:.0f} s")
            error = fault if isinstance(fault, UnfitError) else late
            self._refused = True
            self._metrics.saved_refused(error.flaw)
            log.error("the saved rule set in %s is not used: it %s", self._place, error)
            return None
        if saved is not None:
            self._held, self._off = _content(saved), saved.rule_set.is_off
        return saved

    async def keep(self, committed: asyncio.Event, in_force: Callable[[], Generation | None]) -> None:
        """Write what is in force whenever `committed` is set, for ever: at once, or soon after the write before."""
        while True:
            if not self._failures:
                await committed.wait()
            committed.clear()
            await self.save(in_force())
            await self._rest(committed, in_force)

    async def _rest(self, committed: asyncio.Event, in_force: Callable[[], Generation | None]) -> None:
        """Pause before the next write; the switch of the cluster is not waited with: who has thrown it counts on it."""
        until, more = self._clock.now() + self._pause(), False
        while (left := until - self._clock.now()) > 0:
            await wait_for(committed, self._clock, left)
            more = more or committed.is_set()
            committed.clear()
            held = in_force()
            if held is not None and held.rule_set.is_off is not self._off and not self._failures:
                break
        if more:
            committed.set()

    async def save(self, generation: Generation | None) -> None:
        """Write the generation, unless the file holds it. A failure is told."""
        if generation is None or self._held == _content(generation):
            return
        begin = self._clock.now()
        try:
            size = await self._in_thread(WRITE_SECONDS, lambda: self._write(generation))
        except TimeoutError:
            self._fail(
                NotSavedError(DiskTrouble.HUNG, f"the disk has not taken it for {WRITE_SECONDS:.0f} s")
            )
        except NotSavedError as error:
            self._fail(error)
        else:
            if self._failures:
                log.info("the rule set in force is saved again")
            self._held, self._off = _content(generation), generation.rule_set.is_off
            self._trouble, self._failing_since, self._failures = None, None, 0
            self._took = self._clock.now() - begin
            self._metrics.saved(self._took, size)

    async def finish(self, generation: Generation | None) -> None:
        """The enforcer ends: write what has not been written, and wait no longer than a disk should take."""
        try:
            await within(self._clock, LAST_SECONDS, self.save(generation))
        except TimeoutError:
            log.error("the rule set in force could not be saved within %.0f s", LAST_SECONDS)
        self.close()

    def close(self) -> None:
        """Write no more. A write that hangs is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _fail(self, error: NotSavedError) -> None:
        sentence = f"the rule set in force cannot be saved in {self._place}: {error}"
        # Once, not for each attempt; the counter has them all.
        log.log(logging.DEBUG if sentence == self._trouble else logging.ERROR, "%s", sentence)
        self._trouble = sentence
        self._failures += 1
        if self._failing_since is None:
            self._failing_since = self._clock.now()
        self._metrics.save_failed(error.trouble)

    def _pause(self) -> float:
        # A disk that is full is not asked again for each change.
        longest = AGAIN_SECONDS * 2.0 ** min(self._failures - 1, 10)
        return min(longest, LONGEST_AGAIN) if self._failures else max(PAUSE_SECONDS, PAUSE * self._took)

    async def _in_thread(self, seconds: float, work: Callable[[], Result]) -> Result:
        """Raises TimeoutError when the disk takes longer; what has not begun by then is not done later either."""

        async def done() -> Result:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

        return await within(self._clock, seconds, done())

    def _read(self) -> Generation | None:
        """Raises UnfitError."""
        try:
            with self._place.existing() as disk:
                content = disk.read(NAME, MOST_BYTES)
        except FileNotFoundError:
            return None
        except NotOursError as error:
            raise UnfitError(Flaw.NOT_OURS, str(error)) from error
        except TooLargeError as error:
            raise UnfitError(Flaw.TOO_LARGE, f"has more than {MOST_BYTES} bytes") from error
        except OSError as error:
            raise UnfitError(Flaw.UNREADABLE, f"cannot be read: {error.strerror}") from error
        saved = decode_saved(content, self._node)
        return Generation(
            saved.generation, saved.stands, digest_of(saved.rule_set), saved.rule_set, saved.ended
        )

    def _write(self, generation: Generation) -> int:
        """How many bytes were written. Raises NotSavedError."""
        try:
            content = encode_saved(
                SnapshotMessage(generation.number, generation.stands, generation.rule_set, generation.ended)
            )
            with self._place.made() as disk:
                replace_file(disk, NAME, content)
        except Refused as refused:
            raise NotSavedError(DiskTrouble.OTHER, str(refused)) from refused
        except NotOursError as error:
            raise NotSavedError(DiskTrouble.DENIED, f"the directory {error}") from error
        except OSError as error:
            raise NotSavedError(
                TROUBLES.get(error.errno, DiskTrouble.OTHER), error.strerror or type(error).__name__
            ) from error
        return len(content)


def _content(generation: Generation) -> Content:
    return generation.digest, generation.stands, generation.ended
