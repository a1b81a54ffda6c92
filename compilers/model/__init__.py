"""What the Kubernetes API says, validated on construction: no value here can hold what the API forbids.

Knows the objects of networking.k8s.io/v1 and the parts of Pod, Namespace and Node that decide about traffic.
Knows nothing of JSON, YAML, nft or the wire.
"""
