"""What the compiler lets through, an enforcer accepts: no object of a cluster can make a rule set that the wire refuses."""

from compilers.compile.legend import MOST_CHARACTERS
from compilers.compile.outline import CLOSED_POLICIES
from compilers.compile.room import CLASS, MOST_PODS, NODE
from compilers.parse.objects import MOST_ADDRESSES
from policy_controller.wire.limits import LIMITS

LONGEST_NAMES = 63 + 253
"""Of a namespace and an object in it."""
NAME = 40
"""Of a class or set, with its tag and length."""
TAGS = 32
"""Tags and lengths of one part's fields, more than any has."""


def test_the_compilers_limits_are_within_the_wires() -> None:
    assert CLASS.policies <= LIMITS.class_policies
    assert CLASS.rules <= LIMITS.class_rules
    assert NODE.rules <= LIMITS.rules
    assert NODE.sets <= LIMITS.sets
    assert max(CLASS.elements, CLASS.ranges) <= LIMITS.set_elements
    assert LIMITS.pods >= MOST_PODS
    assert LIMITS.classes >= 2 * MOST_PODS
    assert LIMITS.pod_addresses >= MOST_ADDRESSES
    assert NODE.elements + MOST_PODS * MOST_ADDRESSES <= LIMITS.legend_addresses


def test_the_largest_rule_set_fits_into_one_message() -> None:
    classes = 2 * MOST_PODS
    parts = {
        "elements": NODE.elements * 19 + NODE.sets * (NAME + TAGS),
        "ranges": NODE.ranges * 32,
        "rules": NODE.rules * (2 * NAME + TAGS),
        "classes": classes * (NAME + TAGS),
        "policies": (NODE.policies + classes * CLOSED_POLICIES) * (LONGEST_NAMES + TAGS),
        "pods": MOST_PODS * (253 + LONGEST_NAMES + 2 * NAME + TAGS + 16 * MOST_ADDRESSES),
        # An entry has at least 40 characters of names and address, so as many tags at most.
        "legend": MOST_CHARACTERS * (40 + TAGS) // 40,
    }
    assert sum(parts.values()) < LIMITS.message_bytes
