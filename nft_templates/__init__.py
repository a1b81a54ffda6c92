"""The static base of the tables as real nft files, packaged with the code.

Knows where the files are. What they mean is compilers.nftables.base, which is given their text.
"""

from importlib.resources import files
from typing import Final

INET: Final = "inet.nft"
BRIDGE: Final = "bridge.nft"


def read(name: str) -> str:
    """Return the text of a template (INET or BRIDGE). Raises FileNotFoundError for any other name."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
