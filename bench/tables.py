"""The base of both tables as it ships."""

from typing import Final

import nft_templates
from compilers.nftables.base import BaseSettings, base_tables

BASE: Final = base_tables(
    nft_templates.read(nft_templates.INET), nft_templates.read(nft_templates.BRIDGE), BaseSettings()
)
