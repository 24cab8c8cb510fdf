"""One per host: takes the feed, keeps the kernel as intent says, reports. A shell: it owns tasks, logs and sockets.

In: the feed from a server, or its own snapshot while none answers. Out: kernel state and reports.
Never here: business rules.
"""

import muslin.lean  # noqa: F401 (before anything of this room imports structlog)
