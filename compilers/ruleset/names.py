"""Names of sets, classes and chains: the one place where a name of the kernel's objects comes from.

Knows hashing. Knows nothing of what is named: callers pass the parts that make a thing what it is.
"""

import re
from collections.abc import Iterable
from enum import Enum
from hashlib import blake2b
from typing import Final

from compilers.model.words import Direction, Family

NAME: Final = re.compile(r"(?:p|n|b|ci|ce)-[0-9a-f]{32}")
"""What a name of a rule set looks like; a name from the wire that does not is refused."""


class NameKind(Enum):
    """What is named; the value is the prefix."""

    PEER_SET = "p"
    PORT_SET = "n"
    BLOCK_SET = "b"
    INGRESS_CLASS = "ci"
    EGRESS_CLASS = "ce"
    INGRESS_POD = "pi"
    EGRESS_POD = "pe"


def content_name(kind: NameKind, parts: Iterable[str]) -> str:
    """The name of a thing made of `parts`: `p-4c1f…`, a prefix, a hyphen and 32 hexadecimal digits.

    Legal in nft: it begins with a letter and holds only letters, digits and a hyphen, and since the hyphen and digits
    follow the prefix it is none of nft's words. Short: at most 35 of the 255 characters that the kernel allows.
    Unique: every part goes into a 128-bit BLAKE2b hash behind its own length, so no two lists of parts read the same,
    and the prefix keeps kinds apart; a collision needs about 2^64 objects on a node. Nothing of a part is ever shown.
    """
    digest = blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return f"{kind.value}-{digest.hexdigest()}"


def family_name(name: str, family: Family) -> str:
    """The kernel's name of one family's half of a set: `p-4c1f…` is held as `p4-4c1f…` and `p6-4c1f…`.

    Legal, short and unique as the name it is made of: a digit goes before the hyphen, and no prefix holds a digit.
    """
    prefix, _, digits = name.partition("-")
    return f"{prefix}{family.value}-{digits}"


def pod_chain_name(uid: str, direction: Direction) -> str:
    """The kernel's name of a pod's own chain for one gate, from the pod's uid alone."""
    kind = NameKind.INGRESS_POD if direction is Direction.INGRESS else NameKind.EGRESS_POD
    return content_name(kind, (uid,))
