"""The one door to the store: HTTP API, feed to the agents, address assignment, status. A shell: it wires and reports.

In: HTTP. Out: HTTP, and writes to the store. Never here: business rules (model, calc, ipam, explain have them).
"""

import muslin.lean  # noqa: F401 (before anything of this room imports structlog)
