"""A cluster that is there: whatever a kubeconfig leads to.

Knows kubeconfigs. Makes and removes nothing of the cluster itself.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from e2e.cluster import Images, Kubectl
from policy_controller.testing.client_tools import CommandLine

PATIENCE: Final = 120.0


class ExistingCluster:
    """The cluster of a kubeconfig. What the kubeconfig runs for credentials finds the caller's PATH and home."""

    patience = PATIENCE

    def __init__(self, kubectl: Path, kubeconfig: Path, images: Images) -> None:
        home = Path(os.environ.get("HOME", "/"))
        self.kubectl: Final = Kubectl(CommandLine(kubectl, kubeconfig, home, os.environ.get("PATH", "")))
        self.images: Final = images

    async def __aenter__(self) -> Self:
        await self.kubectl.run("version", "-o", "json")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing was made."""

    async def keep_logs(self, directory: Path) -> None:
        """Nothing is known beyond kubectl."""
        del directory
