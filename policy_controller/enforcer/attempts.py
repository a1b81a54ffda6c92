"""Asks the kernel again for as long as that may help.

Knows which refusals pass and how long is waited. Knows nothing of what is asked for.
"""

import logging
from collections.abc import Callable
from typing import Final

from compilers.nftables.render import Tables
from compilers.nftables.transaction import Rejection
from policy_controller.clock import Clock
from policy_controller.enforcer.kernel import Kernel, KernelError, Phase
from policy_controller.enforcer.metrics import Metrics
from policy_controller.wire.refused import plain

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = (0.0, 0.1, 0.5, 2.0)
"""Waits before further attempts. The first is at once: what was known of the kernel may have been wrong."""

PASSING: Final = frozenset({Rejection.BUSY, Rejection.SHORT, Rejection.OTHER})
"""Refusals that may pass by waiting; others are tried once more, from what is read."""

RESTORE_SECONDS: Final = (1.0, 2.0, 4.0, 8.0)
"""Waits between attempts to put the saved rule set in force, when a node starts and its kernel is busy with others."""


class Attempts:
    """At one kernel. Use from one event loop."""

    def __init__(self, kernel: Kernel, clock: Clock, metrics: Metrics) -> None:
        self._kernel = kernel
        self._clock = clock
        self._metrics = metrics

    async def apply(
        self, tables: Tables, is_final: Callable[[KernelError], bool] = lambda _: False
    ) -> tuple[Phase, ...]:
        """Apply, trying again as long as that may help; a refusal that `is_final` is not tried again. Raises KernelError."""
        for wait in RETRY_SECONDS:
            try:
                return await self._once(tables)
            except KernelError as error:
                if is_final(error) or (wait and error.reason not in PASSING):
                    raise
                log.warning("trying again in %.1f s: %s", wait, plain(str(error)))
            await self._clock.sleep(wait)
        return await self._once(tables)

    async def apply_patiently(self, tables: Tables, refused: Callable[[KernelError], None]) -> None:
        """Apply, for longer than usual: without it the node is open, and nobody waits for an answer.

        `refused` is told of each refusal that is waited for. Raises KernelError.
        """
        for wait in RESTORE_SECONDS:
            try:
                await self.apply(tables)
                return
            except KernelError as error:
                if error.reason not in PASSING:
                    raise
                refused(error)
                log.warning("the saved rule set is not in force yet: %s", plain(str(error)))
            await self._clock.sleep(wait)
        await self.apply(tables)

    async def _once(self, tables: Tables) -> tuple[Phase, ...]:
        phases = await self._kernel.apply(tables)
        self._metrics.applied(phases)
        return phases
