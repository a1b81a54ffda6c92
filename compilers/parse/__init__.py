"""From API JSON and files of YAML or JSON to the model, with every fault named.

Knows how Kubernetes reads its objects. Knows nothing of what policies decide. No input makes it raise: what cannot be
read becomes faults, and what a faulty policy would admit is closed.
"""
