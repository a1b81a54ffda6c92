"""policyctl: what an admin types.

Reads files and the cluster, prints to a terminal or a pipe. All judgement is in compilers/; commands only ask and show.
"""
