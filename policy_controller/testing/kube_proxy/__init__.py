"""kube-proxy: the rules that the real one installs on a node for its Services, in nftables and in iptables mode.

Knows Services, their endpoints and the node, as values, and what kube-proxy 1.31 to 1.34 makes of them: chains, hooks, priorities
and marks. Knows nothing of policies. Pure but for proxy.py, which loads the rules into a network namespace.
"""

from policy_controller.testing.kube_proxy.proxy import KubeProxy, KubeProxyError, Mode, UnfitKernelError
from policy_controller.testing.kube_proxy.services import (
    Endpoint,
    InvalidService,
    ProxiedNode,
    ServicePort,
    TrafficPolicy,
)

__all__ = [
    "Endpoint",
    "InvalidService",
    "KubeProxy",
    "KubeProxyError",
    "Mode",
    "ProxiedNode",
    "ServicePort",
    "TrafficPolicy",
    "UnfitKernelError",
]
