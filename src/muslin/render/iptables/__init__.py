"""The chains and sets of one host for iptables, ip6tables and ipset, as data: a whole from an intent, or kept in step.

In: `intent`. Out: `Ruleset` and `Changes` made of typed words; `text` prints them for `iptables-restore --noflush` and
`ipset restore`. The same meaning as `render.nft`, in the words of another kernel interface.
Never here: running iptables, reading the kernel.
"""

from muslin.render.iptables.marks import Marks, marks
from muslin.render.iptables.ruleset import ChainKey, Changes, Ruleset, whole
from muslin.render.iptables.state import IptablesState, render

__all__ = ["ChainKey", "Changes", "IptablesState", "Marks", "Ruleset", "marks", "render", "whole"]
