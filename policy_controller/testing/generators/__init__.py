"""Clusters made by chance, traffic worth trying in them, and the truth table of selectors and ports.

Knows the model and the laboratory's address plan, so that what is generated can be built there. Knows no verdict of
the evaluator: what uses these compares two ways of judging.
"""

from policy_controller.testing.generators.api_objects import api_objects
from policy_controller.testing.generators.clusters import Shape, random_cluster
from policy_controller.testing.generators.traffic import traffic_of
from policy_controller.testing.generators.truth_table import TruthCase, truth_table
from policy_controller.testing.generators.vocabulary import seeded

__all__ = ["Shape", "TruthCase", "api_objects", "random_cluster", "seeded", "traffic_of", "truth_table"]
