"""Probes: real packets between namespaces, and who answered them.

Opens TCP and UDP connections, crafts SCTP and ICMP, sends raw frames, watches a pair over time. Knows
namespaces and addresses. Knows nothing of policies: whether an outcome is right is for others to say.
"""

from policy_controller.testing.probe.continuous import ContinuousProbing, Expected, Pair, Tally, probe_until
from policy_controller.testing.probe.conversation import Conversation
from policy_controller.testing.probe.frames import DOT1AD, DOT1Q, Capture, Tag, UdpFrame
from policy_controller.testing.probe.listeners import Listener, Listening
from policy_controller.testing.probe.model import (
    Endpoint,
    Outcome,
    Probe,
    ProbeError,
    ProbeResult,
    Transport,
)
from policy_controller.testing.probe.prober import Prober
from policy_controller.testing.probe.watch import Watch

__all__ = [
    "DOT1AD",
    "DOT1Q",
    "Capture",
    "ContinuousProbing",
    "Conversation",
    "Endpoint",
    "Expected",
    "Listener",
    "Listening",
    "Outcome",
    "Pair",
    "Probe",
    "ProbeError",
    "ProbeResult",
    "Prober",
    "Tag",
    "Tally",
    "Transport",
    "UdpFrame",
    "Watch",
    "probe_until",
]
