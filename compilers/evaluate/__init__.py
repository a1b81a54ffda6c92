"""The reference semantics: two ends, a protocol and a port in; a verdict with its reasons out.

Written to be read beside the API reference, not to be fast: everything else is compared with it.
Knows the model. Knows nothing of rule sets, nodes' tables or packets after the first of a connection.
"""
