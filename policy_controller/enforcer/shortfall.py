"""What the kernel does not take of a rule set, one object after the other: the gates that need it close, the rest is served.

Knows which refusals are about one object, and how an object of the kernel is found in a rule set. Pure: what the kernel said
comes in as errors.
"""

import re
from dataclasses import dataclass
from typing import Final, Self

from compilers.nftables.transaction import Rejection
from compilers.ruleset.closing import closing
from compilers.ruleset.rule_set import RuleSet
from policy_controller.enforcer.kernel import KernelError
from policy_controller.wire.refused import Refused

MOST: Final = 16
"""Objects of one generation that may be left out: more is no fault of single ones, and each takes attempts."""
MOST_WORDS: Final = 80
"""Characters of the kernel's sentence: what is closed must not be cut off (refused.py)."""
OF_ALL: Final = frozenset({Rejection.BUSY, Rejection.SHORT})
"""Refusals that are not about what is asked for: another command would meet them as well."""
NAME: Final = re.compile(
    r"\b(?P<kind>[pnb])[46]-(?P<digits>[0-9a-f]{32})\b|\b(?P<class>c[ie]-[0-9a-f]{32})\b"
)
"""A set of one family, or a class, in a command (compilers/ruleset/names.py)."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A rule set as far as the kernel takes it; `refused` says what it does not, and whose gates are closed for that."""

    rule_set: RuleSet
    refused: tuple[Refused, ...] = ()

    def without(self, error: KernelError) -> Self | None:
        """Less by the object that was refused; None where the refusal is about no single object that can be left out."""
        name = _named(error.command or "")
        if error.reason in OF_ALL or name is None or len(self.refused) == MOST:
            return None
        left = closing(self.rule_set, name)
        if left is None:
            return None
        told = "; nobody uses it"
        if left.gates:
            (direction, pod), *others = left.gates
            told = f"; closed for that: {direction.value.lower()} of {pod.namespace}/{pod.name}"
            told += f" and {len(others)} more" if others else ""
        refused = Refused(error.command or name, error.message[:MOST_WORDS] + told)
        return type(self)(left.rule_set, (*self.refused, refused))


def _named(command: str) -> str | None:
    """The name in the rule set of what a command is about; the first, where it names several."""
    found = NAME.search(command)
    if found is None:
        return None
    return found["class"] or f"{found['kind']}-{found['digits']}"
