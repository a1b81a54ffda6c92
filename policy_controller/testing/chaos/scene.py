"""What a fault may use: the installation, the town, the laboratory, the journal.

Knows how to find a victim and how to wait until all works. Knows no fault.
"""

import asyncio
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from policy_controller.testing.chaos.journal import Journal
from policy_controller.testing.chaos.knocking import Knocking
from policy_controller.testing.chaos.town import Town
from policy_controller.testing.installation.api import Api
from policy_controller.testing.installation.commits import Commits
from policy_controller.testing.installation.installation import Installation, InstallationError, enforcer_of
from policy_controller.testing.laboratory import Laboratory, inside

RECOVERY_SECONDS: Final = 60.0
"""Within so many seconds after the last fault of a storm all has to work again."""
POLL_SECONDS: Final = 0.05
PROMPT_SECONDS: Final = 1.5
PROMPT_BEACONS: Final = 2
"""All works when so many changes in a row have been so fast: one alone may have come by a comparison of the whole cluster."""
OURS: Final = "inet policy-controller"
NO_TABLES: Final = "".join(
    f"add table {name}; delete table {name}; " for name in (OURS, "bridge policy-controller")
)
"""For nft: neither of our tables is there any more."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where chaos happens. `directory` is the installation's."""

    installation: Installation
    laboratory: Laboratory
    api: Api
    knocking: Knocking
    town: Town
    journal: Journal
    directory: Path
    commits: Mapping[str, Commits]
    """Of each node's kernel."""

    def some_node(self, rng: Random) -> str:
        """The name of a node."""
        return rng.choice(sorted(self.laboratory.nodes))

    def some_enforcer(self, rng: Random) -> str:
        """The name of an enforcer among the programs."""
        return enforcer_of(self.some_node(rng))

    def some_operator(self, rng: Random) -> str:
        """The name of an operator among the programs."""
        return rng.choice(self.installation.operators())

    async def nft(self, node: str, commands: str) -> None:
        """Somebody's own nft on the node. Raises InstallationError."""
        namespace = self.laboratory.nodes[node].namespace

        def run() -> subprocess.CompletedProcess[str]:
            with inside(namespace):
                return subprocess.run(
                    ["nft", "-f", "-"],  # noqa: S607 - root's own PATH
                    input=commands,
                    text=True,
                    capture_output=True,
                    check=False,
                )

        done = await asyncio.to_thread(run)
        if done.returncode:
            raise InstallationError(f"nft on {node}: {done.stderr.strip()}")

    async def alive(self, enforcer: str) -> None:
        """Return once an enforcer says that it lives. Raises InstallationError."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while not await self.installation.is_alive(enforcer):
            if time.monotonic() > deadline:
                raise InstallationError(f"{enforcer} is not alive after {RECOVERY_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS)

    async def in_force(self, seconds: float = RECOVERY_SECONDS) -> None:
        """Return once every kernel holds what the objects compile to. Raises InstallationError."""
        await self.installation.in_force(self.town.cluster, seconds)

    async def works(self) -> None:
        """Return once everything works: a change of each kind of object has come to every kernel. Raises InstallationError."""
        begun = time.monotonic()
        while await self.api.is_failing():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(POLL_SECONDS)
        # Cheaper to ask than kernels are to read.
        await self.installation.settled(RECOVERY_SECONDS)
        prompt = 0
        while prompt < PROMPT_BEACONS:
            lit = time.monotonic()
            await self.town.light_beacons()
            await self.in_force()
            took = time.monotonic() - lit
            prompt = prompt + 1 if took < PROMPT_SECONDS else 0
            if time.monotonic() - begun > RECOVERY_SECONDS:
                raise InstallationError(
                    f"after {RECOVERY_SECONDS:.0f} s news still takes {took:.1f} s to nodes"
                )
        self.journal.recoveries.append(time.monotonic() - begun)
        self.journal.calm()
