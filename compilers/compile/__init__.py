"""From a cluster state to the rule set of one node, from scratch.

Knows the model and the rule set. Knows nothing of events, streams or nft: the same state gives the same bytes,
whatever happened before.
"""

from compilers.compile.compiler import Compiled as Compiled
from compilers.compile.compiler import Compiler as Compiler
