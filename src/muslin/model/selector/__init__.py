"""Calico's selector language: which labelled things does a policy, a rule or a peering speak of?

In: text such as `app == "db" && zone in {"a", "b"}`. Out: a `Selector` that answers `matches(labels)`, or a
`SelectorError` with the column and the mend. Never here: whose labels they are, indexes.
"""

from muslin.model.selector.expression import NAMESPACE_LABEL
from muslin.model.selector.fault import SelectorError
from muslin.model.selector.grammar import LONGEST_TEXT, parse
from muslin.model.selector.selector import ALL, Selector, both

__all__ = ["ALL", "LONGEST_TEXT", "NAMESPACE_LABEL", "Selector", "SelectorError", "both", "parse"]
