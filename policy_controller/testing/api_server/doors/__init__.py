"""Doors into pods: what `kubectl port-forward` and `kubectl logs` reach, where somebody plays the kubelet.

    registry    the doors: for a pod, its network namespace and its containers' logs
    control     `/_pods`, where whoever plays the kubelet opens and shuts them
    dialling    a connection to a port of a pod's loopback
    logs        what a container said
    channels    forwarded ports as channels of a WebSocket (kr8s)
    spdy        frames of SPDY/3.1
    tunnel      forwarded ports as streams of SPDY within a WebSocket (kubectl)

Knows how ports and logs are carried. Knows nothing of what pods are for.
"""

from policy_controller.testing.api_server.doors.registry import Door, Doors

__all__ = ["Door", "Doors"]
