"""Three ways to one verdict: the reference evaluator, the walk over compiled tables, and real packets.

Knows how traffic between two ends passes the hooks of nodes, and asks each way for its verdict. Knows nothing of how any
of them reaches it.
"""
