"""Our own cluster: site.py as a program beside the tests, reached like any cluster by its kubeconfig.

Knows how the program is started and ended. From then on it is an existing cluster, so that what holds for it was tried with
the same words that a real one hears.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from e2e.cluster import ClusterError, Deadline, Images, Kubectl
from policy_controller.testing.client_tools import CommandLine

IMAGES: Final = Images("policy-controller/operator", "policy-controller/enforcer", "policy-controller/probe")
START_SECONDS: Final = 120.0
END_SECONDS: Final = 30.0
PATIENCE: Final = 60.0
LAST_LINES: Final = 20
ROOT: Final = Path(__file__).parents[1].absolute()


class LaboratoryCluster:
    """`archives`: images to start containers from; None: this checkout. `network` is a word of site.py."""

    images = IMAGES
    patience = PATIENCE

    def __init__(self, kubectl: Path, archives: Path | None, network: str = "bridge") -> None:
        self._binary = kubectl
        self._network = network
        self._archives = archives

    async def __aenter__(self) -> Self:
        self.directory = Path(tempfile.mkdtemp(prefix="policy-controller-e2e-"))
        self._log = self.directory / "site.log"
        words = ["-m", "e2e.site", "--directory", str(self.directory), "--network", self._network]
        words += [] if self._archives is None else ["--images", str(self._archives)]
        with self._log.open("wb") as log:
            # However this process ends, it ends with it.
            command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, *words]
            self._site = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT)  # noqa: ASYNC220, S603 - our own program
        kubeconfig = self.directory / "kubeconfig"
        async for _ in Deadline(START_SECONDS, "the laboratory's start"):
            if kubeconfig.exists():
                break
            if self._site.poll() is not None:
                raise ClusterError(f"the laboratory has ended\n{self._last_words()}")
        home = self.directory / "home"
        home.mkdir()
        self.kubectl = Kubectl(CommandLine(self._binary, kubeconfig, home))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._site.terminate()
        try:
            await asyncio.to_thread(self._site.wait, END_SECONDS)
        except subprocess.TimeoutExpired:
            self._site.kill()
            await asyncio.to_thread(self._site.wait)
        shutil.rmtree(self.directory)

    async def keep_logs(self, directory: Path) -> None:
        """Logs of the laboratory and of all containers that it had."""
        for log in self.directory.glob("*.log"):
            shutil.copy(log, directory)

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:])
