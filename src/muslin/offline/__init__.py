"""A cluster out of files alone, and what people expect of it.

In: documents that were read (`model.documents`), resources of ours and of Kubernetes. Out: a `World`, in which a graph
holds what a server would hold, with the lines of everything; and the outcome of expectations. Pure: whoever reads the
files is above. Never here: how an answer looks on a screen.
"""

from muslin.offline.assembly import Assembly, assemble, is_foreign
from muslin.offline.world import World

__all__ = ["Assembly", "World", "assemble", "is_foreign"]
