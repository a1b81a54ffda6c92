"""A whole installation in a laboratory: API server, operator and enforcers as processes, pods that live and report.

Whoever uses it has what a cluster admin has: an API to write to, and packets. Knows the programs by their command lines
and the API by HTTP; knows no expected verdict beyond what the compiler says of a cluster state.
"""
