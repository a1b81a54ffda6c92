"""What a node's kernel should hold, and why.

Knows tables and what is kept beside the operator's word. Decides nothing (enforcement.py).
"""

from dataclasses import dataclass

from compilers.nftables.render import Slots, Tables
from policy_controller.enforcer.departed import NONE, Departed
from policy_controller.enforcer.gates import NOBODY, Waiting


@dataclass(frozen=True, slots=True)
class Standing:
    """What the kernel should hold, which slots for unknown addresses are closed in it, and the pods it waits for.

    `slots` is None where they are as they were found. `told` is what the operator's word alone would be, its slots aside.
    """

    tables: Tables
    slots: Slots | None
    waiting: Waiting
    told: Tables
    departed: Departed = NONE

    @classmethod
    def found(cls, tables: Tables) -> "Standing":
        """What nobody has told of yet."""
        return cls(tables, None, NOBODY, tables)
