"""Labels and annotations: mappings whose names obey Kubernetes' rules.

A name is `name` or `domain/name`. Selectors and kubectl can only say names of that form, so a label outside it could
never be matched.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from muslin.model.fault import Path
from muslin.model.validation.findings import Findings, shown
from muslin.model.validation.forms import LONGEST_LABEL, LONGEST_NAME, NAME

MOST_ANNOTATION_BYTES = 256 * 1024
_WORD = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_INTERFACE = re.compile(r"\*|[a-zA-Z0-9_.-]{1,15}")


def check_labels(pairs: dict[str, str], path: Path, findings: Findings) -> None:
    """Names and values as Kubernetes takes them."""
    for name, value in pairs.items():
        _name(name, (*path, name), findings)
        if value == "" or (len(value) <= LONGEST_LABEL and _WORD.fullmatch(value)):
            continue
        why = f"it has letters, digits, '-', '_' and '.', a letter or digit at its ends, {LONGEST_LABEL} at most"
        made = re.sub(r"[^A-Za-z0-9_.-]+", "-", value)[:LONGEST_LABEL].strip("-_.")
        findings.add((*path, name), f"{shown(value)} is no label value", why, f"write {made or 'a word'}")


def check_annotations(pairs: dict[str, str], path: Path, findings: Findings) -> None:
    """Names as Kubernetes takes them (in any case), and not more than etcd should carry."""
    for name in pairs:
        _name(name.lower(), (*path, name), findings)
    size = sum(len(text.encode(errors="replace")) for pair in pairs.items() for text in pair)
    if size > MOST_ANNOTATION_BYTES:
        why = f"{MOST_ANNOTATION_BYTES} is the most"
        findings.add(path, f"annotations of {size} bytes together", why, "keep large texts somewhere else")


def check_log_filters(pairs: dict[str, str], path: Path, findings: Findings) -> None:
    """Keys are interfaces, or all, weps, heps."""
    for name in pairs:
        if not _INTERFACE.fullmatch(name):
            findings.add((*path, name), f"{shown(name)} is no interface name", "", "write one such as eth0, or all")


def _name(name: str, path: Path, findings: Findings) -> None:
    domain, slash, word = name.rpartition("/")
    if slash and not (len(domain) <= LONGEST_NAME and NAME.fullmatch(domain)):
        why = "before the slash stands a domain in small letters"
        findings.add(path, f"{shown(name)} is no label name", why, f"write one such as example.com/{word or 'app'}")
    elif len(word) > LONGEST_LABEL:
        findings.add(path, f"{shown(name)} is too long", f"{LONGEST_LABEL} characters is the most", "shorten it")
    elif not _WORD.fullmatch(word):
        why = "it has letters, digits, '-', '_' and '.', and a letter or digit at its ends"
        made = re.sub(r"[^A-Za-z0-9_.-]+", "-", word).strip("-_.")
        findings.add(path, f"{shown(name)} is no label name", why, f"write {domain}{slash}{made or 'app'}")


MAP_FORMS: dict[str, Callable[[dict[str, str], Path, Findings], None]] = {
    "labels": check_labels, "annotations": check_annotations, "log_filters": check_log_filters,
}
