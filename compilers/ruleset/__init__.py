"""One node's rule set: its pods, their classes, the sets those refer to, and the legend that names them.

This is what crosses the wire: typed values, never nft text. Knows nothing of how a kernel holds it.
"""
