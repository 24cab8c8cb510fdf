"""What the server answers when it will not or cannot: always a Kubernetes `Status`; kubectl loses any other text.

A refusal names its HTTP code and Kubernetes' reason for it; causes carry one line for each field that is wrong. kubectl
prints causes INSTEAD of the message, so an `invalid` always has some.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from muslin.errors import Conflict, Invalid, MuslinError, Transient
from muslin.model.fault import Fault
from muslin.store import Compacted

Json = dict[str, Any]
"""One API object, or part of one: plain JSON, as it came and as it goes."""


class Refusal(MuslinError):
    """Raised anywhere below a request; the shell turns it into an answer."""

    def __init__(self, code: int, reason: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}

    @property
    def status(self) -> Json:
        status = {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": str(self), "reason": self.reason, "code": self.code,
        }
        return {**status, "details": self.details} if self.details else status


def bad_request(message: str) -> Refusal:
    return Refusal(400, "BadRequest", message)


def forbidden(plural: str, group: str, name: str, why: str) -> Refusal:
    message = f'{qualified(plural, group)} "{name}" is forbidden: {why}'
    return Refusal(403, "Forbidden", message, {"name": name, "group": group, "kind": plural})


def unknown_path() -> Refusal:
    return Refusal(404, "NotFound", "the server could not find the requested resource")


def not_found(plural: str, group: str, name: str) -> Refusal:
    message = f'{qualified(plural, group)} "{name}" not found'
    return Refusal(404, "NotFound", message, {"name": name, "group": group, "kind": plural})


def already_exists(plural: str, group: str, name: str) -> Refusal:
    message = f'{qualified(plural, group)} "{name}" already exists'
    return Refusal(409, "AlreadyExists", message, {"name": name, "group": group, "kind": plural})


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(plural: str, group: str, name: str, why: str = MODIFIED) -> Refusal:
    message = f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}'
    return Refusal(409, "Conflict", message, {"name": name, "group": group, "kind": plural})


def expired(message: str) -> Refusal:
    return Refusal(410, "Expired", message)


def unsupported_media_type(given: str, accepted: Iterable[str]) -> Refusal:
    what = f"a body of type {given!r} is not understood" if given else "the body has no Content-Type"
    return Refusal(415, "UnsupportedMediaType", f"{what}: send one of {', '.join(accepted)}")


def invalid(kind: str, group: str, name: str, causes: Iterable[Json]) -> Refusal:
    """`causes`: reason, field, message of each thing that is wrong."""
    listed = list(causes)
    said = ", ".join(": ".join(part for part in (cause["field"], cause["message"]) if part) for cause in listed)
    message = f'{qualified(kind, group)} "{name}" is invalid: {f"[{said}]" if len(listed) > 1 else said}'
    return Refusal(422, "Invalid", message, {"name": name, "group": group, "kind": kind, "causes": listed})


def cause(field: str, message: str, reason: str = "FieldValueInvalid") -> Json:
    return {"reason": reason, "field": field, "message": message}


def causes_of(faults: Iterable[Fault]) -> list[Json]:
    return [cause(fault.field, fault.message, str(fault.reason)) for fault in faults]


def qualified(name: str, group: str) -> str:
    """`networkpolicies.projectcalico.org`."""
    return f"{name}.{group}" if group else name


def refusal_of(error: MuslinError) -> Refusal:
    """An error from a room below, as an answer. `Broken` is not among them: that is a crash."""
    match error:
        case Refusal():
            return error
        case Compacted():
            return expired(f"too old resource version: {error}")
        case Invalid():
            return bad_request(str(error))
        case Conflict():
            return Refusal(409, "Conflict", str(error))
        case Transient():
            return Refusal(503, "ServiceUnavailable", str(error))
        case _:
            raise error
