"""Errors in the words of CNI: a number that runtimes act on, a message for people."""

from __future__ import annotations

from enum import IntEnum

from muslin.client.refusal import ApiError, Unreachable
from muslin.errors import Conflict, Invalid, MuslinError, Transient


class Code(IntEnum):
    """CNI specification 1.1.0, section "Error": 1-99 are the specification's, from 100 on a plugin's own."""

    VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    ENVIRONMENT = 4
    IO = 5
    UNREADABLE = 6
    CONFIGURATION = 7
    TRY_AGAIN = 11
    NOT_AVAILABLE = 50
    REFUSED = 100
    DIFFERENT = 101
    """CHECK: something is not as ADD left it."""


class Fault(Invalid):
    """The answer to a call that fails."""

    def __init__(self, code: Code, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


def fault_of(error: MuslinError) -> Fault:
    """The same failure as CNI says it: what may pass is to be tried again, the rest is the caller's or ours."""
    cause = error.__cause__ if isinstance(error.__cause__, MuslinError) else error
    match cause:
        case Fault():
            return cause
        case Unreachable() | Transient() | Conflict():
            return Fault(Code.TRY_AGAIN, str(error))
        case ApiError() | Invalid():
            return Fault(Code.REFUSED, str(error))
        case _:
            return Fault(Code.IO, str(error))
