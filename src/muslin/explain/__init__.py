"""A packet and the intent: verdict, and why. An independent second opinion beside the kernel.

In: `intent.HostIntent`, a packet. Out: verdict, the deciding rule, the path. Never here: `render`.
"""

from muslin.explain.decision import Decision, Gate, Journey, Outcome, Passage, Path, Place, Step, named
from muslin.explain.journey import Flow, journey
from muslin.explain.matrix import Cell, verdicts
from muslin.explain.packet import EPHEMERAL, Packet
from muslin.explain.path import path, to_host
from muslin.explain.rule import Mismatch
from muslin.explain.text import origin_text, text
from muslin.explain.walk import endpoint_at, why

__all__ = [
    "EPHEMERAL",
    "Cell",
    "Decision",
    "Flow",
    "Gate",
    "Journey",
    "Mismatch",
    "Outcome",
    "Packet",
    "Passage",
    "Path",
    "Place",
    "Step",
    "endpoint_at",
    "journey",
    "named",
    "origin_text",
    "path",
    "text",
    "to_host",
    "verdicts",
    "why",
]
