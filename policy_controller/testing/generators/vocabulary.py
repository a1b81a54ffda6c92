"""The few words that generated clusters are made of: few, so that selectors, names and blocks collide.

Knows constants and how chance picks among them. Knows no object of the model that holds them.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from random import Random
from typing import Final, TypeVar

from compilers.model.cluster import DEFAULT_ACCOUNT, OPERATOR
from compilers.model.words import Network
from policy_controller.testing.laboratory.addresses import (
    OUTSIDE4,
    OUTSIDE6,
    PODS4,
    PODS6,
    UNDERLAY4,
    UNDERLAY6,
)

T = TypeVar("T")

NAMESPACES: Final = ("shop", "ops", OPERATOR.namespace, "default")
ACCOUNTS: Final = (DEFAULT_ACCOUNT, OPERATOR.name)
"""The operator's name is that of accounts in other namespaces too, and its namespace has others."""
NAMESPACE_LABELS: Final = {"team": ("shop", "ops"), "stage": ("prod", "test")}
POD_LABELS: Final = {"app": ("web", "api", "db"), "tier": ("front", "back"), "canary": ("",)}
NODES: Final = ("node-a", "node-b")
PORT_NUMBERS: Final = (80, 53, 443, 8080, 8081, 1, 65535)
PORT_NAMES: Final = ("http", "dns", "metrics")

WIDE_BLOCKS: Final[tuple[Network, ...]] = (
    ip_network("0.0.0.0/0"),
    ip_network("::/0"),
    PODS4,
    PODS6,
    ip_network("10.244.1.0/24"),
    ip_network("fd10:244:1::/64"),
    ip_network("10.244.2.0/24"),
    ip_network("fd10:244:2::/64"),
    UNDERLAY4,
    UNDERLAY6,
    OUTSIDE4,
    OUTSIDE6,
    ip_network("203.0.113.0/25"),
    ip_network("2001:db8:cafe::/80"),
    ip_network("203.0.113.64/26"),
    ip_network("2001:db8:cafe::40/122"),
)
"""Blocks of many addresses, the widest first, that overlap or contain one another."""


def seeded(seed: int) -> Random:
    """Chance that can be repeated: the same seed gives the same choices."""
    return Random(seed)  # noqa: S311 - repeating is the purpose; nothing here is secret


def rarely(rng: Random, one_in: int) -> bool:
    """True once in `one_in`; a shrinking generator prefers False."""
    return rng.randrange(one_in) == one_in - 1


def several(rng: Random, words: Sequence[T], most: int) -> tuple[T, ...]:
    """Up to `most` of the words, without repeats, in the order of `words`."""
    picked = {rng.randrange(len(words)) for _ in range(rng.randint(0, most))}
    return tuple(word for index, word in enumerate(words) if index in picked)


def some_labels(rng: Random, words: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Labels with some of the keys."""
    return {key: rng.choice(words[key]) for key in several(rng, tuple(words), 3)}
