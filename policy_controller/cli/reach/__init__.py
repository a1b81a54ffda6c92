"""The way from policyctl to the admin interface of a running operator.

It listens on its pod's loopback only. The way in is the API server's port-forward, so that Kubernetes RBAC decides who
may; docs/security.md says which permissions that takes.

    way        where the operator runs, and why it is not reached
    websocket  the API server's port-forward, spoken here
    kubectl    the same by kubectl, where ours does not get through
    admin      one of these ways, or an address given outright
"""
