"""Labels and annotations: mappings whose names obey Kubernetes' rules."""

from __future__ import annotations

import re
from collections.abc import Callable

from muslin.model.fault import Path
from muslin.model.validation.findings import Findings, shown
from muslin.model.validation.forms import label_name, label_value

MOST_ANNOTATION_BYTES = 256 * 1024
_INTERFACE = re.compile(r"\*|[a-zA-Z0-9_.-]{1,15}")


def check_labels(pairs: dict[str, str], path: Path, findings: Findings) -> None:
    """Names and values as Kubernetes takes them."""
    for name, value in pairs.items():
        for wrong in (label_name(name), label_value(value)):
            if wrong:
                findings.add((*path, name), *wrong)


def check_annotations(pairs: dict[str, str], path: Path, findings: Findings) -> None:
    """Names as Kubernetes takes them (in any case), and not more than etcd should carry."""
    for name in pairs:
        wrong = label_name(name.lower())
        if wrong:
            findings.add((*path, name), *wrong)
    size = sum(len(text.encode(errors="replace")) for pair in pairs.items() for text in pair)
    if size > MOST_ANNOTATION_BYTES:
        why = f"{MOST_ANNOTATION_BYTES} is the most"
        findings.add(path, f"annotations of {size} bytes together", why, "keep large texts somewhere else")


def check_log_filters(pairs: dict[str, str], path: Path, findings: Findings) -> None:
    """Keys are interfaces, or all, weps, heps."""
    for name in pairs:
        if not _INTERFACE.fullmatch(name):
            findings.add((*path, name), f"{shown(name)} is no interface name", "", "write one such as eth0, or all")


MAP_FORMS: dict[str, Callable[[dict[str, str], Path, Findings], None]] = {
    "labels": check_labels, "annotations": check_annotations, "log_filters": check_log_filters,
}
