"""A fault is one thing wrong with what a user wrote: where, what, why, and what to write instead.

People fix files, not exceptions. So nothing in this room stops at the first fault: every check appends a `Fault` to a
list, and a fault that does not say what to write instead is a bug of ours. The same fault serves three readers: a line
on a terminal (`file:line:col: what, why, mend`), a cause in a Kubernetes `Status` (field, reason, message), and JSON.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

Path = tuple[str | int, ...]
"""The way from the top of an object to a value: keys and list indexes."""


class Reason(StrEnum):
    """Kubernetes' words for the cause of a refusal (metav1.CauseType)."""

    INVALID = "FieldValueInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    REQUIRED = "FieldValueRequired"
    FORBIDDEN = "FieldValueForbidden"
    DUPLICATE = "FieldValueDuplicate"
    UNKNOWN = "FieldUnknown"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """`line` and `column` count from 1; 0 means unknown (an object that came over the API has no lines)."""

    path: Path = ()
    what: str
    why: str
    mend: str
    reason: Reason = Reason.INVALID
    file: str = ""
    line: int = 0
    column: int = 0
    offset: int = 0
    """Where in the value, in letters: a selector knows which of its letters is wrong."""

    @property
    def field(self) -> str:
        """`spec.ingress[0].action`, as Kubernetes writes paths."""
        return field(self.path)

    @property
    def message(self) -> str:
        """What, why and mend as one line; a multi-line `what` (a selector's caret) keeps its lines."""
        return ", ".join(part for part in (self.what, self.why, self.mend) if part)

    @property
    def where(self) -> str:
        """`file:line:col` as far as known, else the field."""
        if not self.line:
            return ": ".join(part for part in (self.file, self.field) if part)
        return f"{self.file or '-'}:{self.line}:{self.column}"

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def field(path: Path) -> str:
    """`spec.ports[2]`, `metadata.labels[example.com/app]`."""
    text = ""
    for step in path:
        if isinstance(step, str) and step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{step}]"
    return text
