"""One nftables table, `inet muslin`, as data: a whole from an intent, or kept in step with it change by change.

In: `intent`. Out: `Table` and `Changes` made of typed words, in a safe order; `wire` makes one
netlink batch of them, `text` prints them for `nft -f -`.
Never here: running nft, reading the kernel.
"""

from muslin.render.nft.cutting import Flow
from muslin.render.nft.cutting import commands as cut
from muslin.render.nft.filling import onto_nothing, parts
from muslin.render.nft.state import NftState, render
from muslin.render.nft.steps import Steps, steps, taken_back
from muslin.render.nft.table import FAMILY, TABLE, Changes, ElementChange, Table, commands, whole
from muslin.render.nft.text import script, table_text, text

__all__ = [
    "FAMILY",
    "TABLE",
    "Changes",
    "ElementChange",
    "Flow",
    "NftState",
    "Steps",
    "Table",
    "commands",
    "cut",
    "onto_nothing",
    "parts",
    "render",
    "script",
    "steps",
    "table_text",
    "taken_back",
    "text",
    "whole",
]
