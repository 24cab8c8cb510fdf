"""What is wrong with an object, what it becomes when it is written, and what may not change any more.

In: one object as a plain dict, of any shape. Out: every fault with its mend (`faults`, `immutable_faults`), or the
object with Calico's defaults and forced labels (`normal`). Never here: files and lines, other objects, the store.
"""

from muslin.model.validation.normal import immutable_faults, normal
from muslin.model.validation.whole import faults

__all__ = ["faults", "immutable_faults", "normal"]
