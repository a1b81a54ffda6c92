"""`policyctl demo`: the whole of policy-controller on one machine, and packets that show what it does.

Plays what a cluster has and a machine has not: scheduler, kubelet and pod network. Everything else is the real thing:
the operator and the enforcers are started as processes and reach the API server and the kernel by themselves.
"""
