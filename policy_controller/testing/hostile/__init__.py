"""Hostile objects and files as values, and what must hold of each: one table for every layer that they meet.

case       what a case is, and the small cluster that it meets
policies   NetworkPolicies that are wrong, or are right and hard to believe
words      strings made to be taken for syntax, and names at their longest
others     pods, namespaces and nodes
large      objects at, and beyond, what there is room for
files      texts that are no objects
"""

from typing import Final

from policy_controller.testing.hostile.case import BYSTANDERS, Case
from policy_controller.testing.hostile.large import LARGE
from policy_controller.testing.hostile.others import OTHERS
from policy_controller.testing.hostile.policies import POLICIES
from policy_controller.testing.hostile.words import WORDS

CASES: Final[tuple[Case, ...]] = (*POLICIES, *WORDS, *OTHERS, *LARGE)

__all__ = ["BYSTANDERS", "CASES", "LARGE", "OTHERS", "POLICIES", "WORDS", "Case"]
