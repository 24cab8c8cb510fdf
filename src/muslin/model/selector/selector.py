"""A parsed selector: small, immutable, equal to every other one that is spelt the same in canonical form."""

from __future__ import annotations

from muslin.model.selector.expression import NAMESPACE_LABEL, All, And, Global, Has, Node, Not, Or, Test


class Selector:
    """`matches(labels)` says whether a thing with these labels is meant. `str()` is the canonical text."""

    __slots__ = ("_node", "_requires", "_text", "matches")

    matches: Test
    """Compiled: a mapping of label to value in, True or False out."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._text = node.text()
        self._requires: tuple[tuple[str, frozenset[str] | None], ...] | None = None
        self.matches = node.test()

    @property
    def requires(self) -> tuple[tuple[str, frozenset[str] | None], ...]:
        """What must hold of a label wherever this matches, sorted by label: it has one of the values, or (None) it is
        merely present. An empty set of values: nothing can match. Necessary, not sufficient: `matches` decides."""
        if self._requires is None:
            self._requires = tuple(sorted(self._node.requires(True).items(), key=lambda item: item[0]))
        return self._requires

    @property
    def mentions_global(self) -> bool:
        """Is `global()` anywhere in it? Calico allows that only in a rule's namespaceSelector, and only alone."""
        return _mentions_global(self._node)

    @property
    def is_global(self) -> bool:
        """Is it `global()` and nothing else?"""
        return isinstance(self._node, Global)

    def prefixed(self, prefix: str) -> Selector:
        """The same question asked of labels with this prefix: `pcns.` for labels inherited from a namespace,
        `pcsa.` for those of a service account. `all()` and `global()` stay as they are."""
        return Selector(self._node.renamed(prefix))

    def of_namespaces(self) -> Selector:
        """This text as a rule's namespaceSelector: asked of the namespace's labels, `all()` meaning everything that
        is in any namespace, and `global()` everything that is in none."""
        return Selector(_in_a_namespace(self._node.renamed("pcns.")))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Selector({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Selector) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)


ALL = Selector(All())
"""Matches everything, as an empty text does."""


def both(left: Selector, right: Selector) -> Selector:
    """What both select. `all()` adds nothing and leaves no trace."""
    parts = [part for part in (left._node, right._node) if not isinstance(part, All)]
    if len(parts) == 2:
        return Selector(And((parts[0], parts[1])))
    return Selector(parts[0]) if parts else ALL


def _mentions_global(node: Node) -> bool:
    if isinstance(node, Not):
        return _mentions_global(node.operand)
    if isinstance(node, And | Or):
        return any(map(_mentions_global, node.operands))
    return isinstance(node, Global)


def _in_a_namespace(node: Node) -> Node:
    if isinstance(node, Not):
        return Not(_in_a_namespace(node.operand))
    if isinstance(node, And):
        return And(tuple(map(_in_a_namespace, node.operands)))
    if isinstance(node, Or):
        return Or(tuple(map(_in_a_namespace, node.operands)))
    return Has(NAMESPACE_LABEL) if isinstance(node, All) else node
