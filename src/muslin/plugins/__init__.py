"""Translates an orchestrator's words into resources, and plugs interfaces through the agent.

Each plugin is independent of the others. Never here: calc, render, explain.
"""

import muslin.lean  # noqa: F401 (before anything of this room imports structlog)
