"""Examples: a folder of policies and workloads, and what must hold between them.

Knows the files' form and how pods get nodes and addresses that no file gives them. Knows nothing of how a verdict is
reached: evaluator, walk and packets are each compared with `expected.yaml` by whoever uses this.
"""

from policy_controller.testing.examples.expectations import Expectation
from policy_controller.testing.examples.loader import (
    Example,
    ExampleError,
    examples_in,
    load_example,
    load_workloads,
)
from policy_controller.testing.examples.placement import MOST_NODES, NODES, PlacementError, node_names, place

__all__ = [
    "MOST_NODES",
    "NODES",
    "Example",
    "ExampleError",
    "Expectation",
    "PlacementError",
    "examples_in",
    "load_example",
    "load_workloads",
    "node_names",
    "place",
]
