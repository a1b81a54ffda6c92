"""Whether the node has come to meet pods on interfaces that the detection at start could not know.

Knows detection and its repetition. Knows no kernel: links are asked for through a function.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from policy_controller.clock import Clock
from policy_controller.enforcer.interfaces import Link, detect
from policy_controller.enforcer.preflight import Finding, Weight

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 5.0
"""Between two looks at the links."""


def late(links: Iterable[Link], in_force: Iterable[str]) -> tuple[str, ...]:
    """Patterns that detection gives now and those in force lack, sorted.

    A pattern in force that detection would not give any more is no reason: the next pod brings its links back.
    """
    return tuple(sorted(set(detect(links)) - set(in_force)))


def late_findings(links: Iterable[Link], in_force: Iterable[str]) -> tuple[Finding, ...]:
    """The same for whoever runs the node."""
    patterns = late(links, in_force)
    if not patterns:
        return ()
    sentence = (
        f"pods are met on {', '.join(patterns)} as well, which no rule names yet: "
        "the enforcer ends, so that it is started again and detects them"
    )
    return (Finding(Weight.NOT_READY, sentence),)


async def until_late(
    in_force: tuple[str, ...], links: Callable[[], Awaitable[tuple[Link, ...]]], clock: Clock
) -> tuple[str, ...]:
    """Return the late patterns that two looks, one after the other, have seen; waits for them for ever.

    Two, since a link that is about to become the port of a bridge stands alone for a moment.
    """
    before: frozenset[str] = frozenset()
    while True:
        await clock.sleep(LOOK_SECONDS)
        try:
            now = frozenset(late(await links(), in_force))
        except OSError as error:
            log.warning("the links cannot be read: %s", error.strerror)
            continue
        if before & now:
            return tuple(sorted(before & now))
        before = now
