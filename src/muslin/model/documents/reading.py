"""The whole way from a text to objects: compose, unfold lists, translate, judge, and put every fault in its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from muslin.model.documents import groups
from muslin.model.documents.compose import Document, documents
from muslin.model.documents.expected import expects
from muslin.model.documents.located import Located
from muslin.model.documents.tree import Node
from muslin.model.documents.words import with_text
from muslin.model.fault import Fault, Path, Reason
from muslin.model.kubernetes import rule_sources
from muslin.model.translated import translation
from muslin.model.validation import faults as faults_of
from muslin.model.validation.findings import quoted, shown

Foreign = Callable[[Any], bool]
"""Is this document somebody else's, and not to be judged as a resource of ours?"""


@dataclass(frozen=True, slots=True)
class Reading:
    """`objects` are those without a fault; `faults` those of all the others, in the order of their lines. `foreign`:
    documents that the caller said are not ours, as they stand in the file; YAML itself is judged in them too."""

    objects: tuple[Located, ...]
    faults: tuple[Fault, ...]
    foreign: tuple[Located, ...] = ()


def read(text: str, file: str, foreign: Foreign = expects) -> Reading:
    """All objects of a file. Never raises, whatever the text is."""
    good: list[Located] = []
    others: list[Located] = []
    faults: list[Fault] = []
    for document in documents(text):
        objects, strange, wrong = _judged(document, file, foreign)
        good += objects
        others += strange
        faults += wrong
    faults.sort(key=lambda fault: (fault.line, fault.column))
    return Reading(tuple(good), tuple(msgspec.structs.replace(fault, file=file) for fault in faults), tuple(others))


def _judged(document: Document, file: str, foreign: Foreign) -> tuple[list[Located], list[Located], list[Fault]]:
    root = document.root
    if root is None or (root.value is None and not document.faults):
        return [], [], document.faults
    good: list[tuple[Path, Any]] = []
    others: list[Located] = []
    unfolding: list[Fault] = []
    wrong = list(document.faults)
    for base, value in groups.objects(root.value, (), unfolding):
        if foreign(value):
            others.append(Located(value, file, *root.find(base)[0].place, root, base))
            continue
        found: list[Fault] = []
        obj = groups.as_v3(with_text(value, root.find(base)[0]), found)
        found += faults_of(obj)
        wrong += [_placed(fault, root, base) for fault in found]
        if not found:
            good.append((base, obj))
    wrong += [_placed(fault, root, ()) for fault in unfolding]
    judged = {(fault.line, fault.column) for fault in wrong}
    strange = [one.base for one in others]
    wrong += [doubt for doubt in document.doubts if (doubt.line, doubt.column) not in judged
              and not any(doubt.path[: len(base)] == base for base in strange)]
    touched = {fault.path[:end] for fault in wrong for end in range(len(fault.path) + 1)}
    untouched = [one for one in others if one.base not in touched]
    return [_located(obj, file, root, base) for base, obj in good if base not in touched], untouched, wrong


def _located(obj: dict[str, Any], file: str, root: Node, base: Path) -> Located:
    line, column = root.find(base)[0].place
    if found := translation(obj):
        meant, rules = found.to_calico(obj), found.rule_sources(obj)
        return Located(meant, file, line, column, root, base, rules, original=obj)
    if obj["kind"] == "StagedKubernetesNetworkPolicy":  # kept as it is, but its rules too are counted as converted
        return Located(obj, file, line, column, root, base, rule_sources(obj))
    return Located(obj, file, line, column, root, base)


def _placed(fault: Fault, root: Node, base: Path) -> Fault:
    """The fault in its line; and where YAML read a number or a truth value, in the words of the file."""
    path = base + fault.path
    line, column = root.position(path, key=fault.reason is Reason.UNKNOWN, offset=fault.offset)
    what, mend = fault.what, fault.mend
    node, found = root.find(path)
    if found and node.spelled is not None:
        read_as = shown(node.value)
        if node.spelled != read_as and what.startswith(read_as):
            what = f"{node.spelled} (YAML reads {read_as}){what.removeprefix(read_as)}"
        if mend == quoted(read_as):
            mend = quoted(node.spelled)
    return msgspec.structs.replace(fault, path=path, what=what, mend=mend, line=line, column=column)
