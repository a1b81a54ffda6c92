"""A flood of new flows between network namespaces, and meters on both sides of the gates.

Shows what one packet in millions meets while a rule set changes. Knows packets, namespaces and counters. Knows nothing
of policies or of what the gates should do: whoever floods says which streams must not get through.
"""

from policy_controller.testing.flood.flood import Flood
from policy_controller.testing.flood.meters import Count, Meters
from policy_controller.testing.flood.streams import Stream

__all__ = ["Count", "Flood", "Meters", "Stream"]
