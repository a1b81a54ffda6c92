"""kubectl and helm as their makers build them, for tests: fetched once, pinned, checked, and run with a deadline.

    binaries        which versions, where they come from, where they lie
    command_line    one of them as a client of one cluster

Knows nothing of what is asked of a cluster.
"""

from policy_controller.testing.client_tools.binaries import (
    FetchError,
    UnfitMachineError,
    helm,
    kubectl,
)
from policy_controller.testing.client_tools.command_line import CommandLine, Ended, Following

__all__ = ["CommandLine", "Ended", "FetchError", "Following", "UnfitMachineError", "helm", "kubectl"]
