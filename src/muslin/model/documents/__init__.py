"""Files of resources, as people keep them: YAML or JSON, many documents, lists, older and foreign API groups.

In: the text of a file and its name. Out: plain objects in Calico's v3 form, each knowing the line of each of its
fields, and every fault of every document at once. Never here: reading from disk, defaults, other objects.
"""

from muslin.model.documents.expected import expects
from muslin.model.documents.located import Located
from muslin.model.documents.reading import Reading, read

__all__ = ["Located", "Reading", "expects", "read"]
