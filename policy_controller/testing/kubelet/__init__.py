"""The controllers, kubelets and kube-proxy of a laboratory: what is applied to the API server runs, as it says.

    kubelet          who acts when something in the API changes
    client, relay    the way to the API server: for these parts, and for pods
    controllers      Deployments and DaemonSets: which pods there should be (pure)
    services         Services: which pods they lead to (pure)
    spec             what of a pod's spec is played; all else is refused by name (pure)
    environment      variables, and $(NAME) in words (pure)
    contents         what volumes hold (pure)
    volumes          volumes as directories that change all at once
    furnishing       the volumes of one pod, with tokens that are renewed
    orders           the order for a container, put together from all of these
    images           which program an image stands for
    containers       containers as processes; container_init is their first moment
    places           what the pods of one laboratory share
    probes, reports  what is asked of containers, and what is said of pods
    pods             the life of one pod

Not played: limits of resources, seccomp, users' namespaces, init containers, taints, DNS. A container's processes have a
network, mount, process and IPC namespace, a user, capabilities, no new privileges and a read-only root, as its spec says.
"""

from policy_controller.testing.kubelet.images import OWN, Image
from policy_controller.testing.kubelet.kubelet import Kubelet, KubeletError
from policy_controller.testing.kubelet.pods import PodLife

__all__ = ["OWN", "Image", "Kubelet", "KubeletError", "PodLife"]
