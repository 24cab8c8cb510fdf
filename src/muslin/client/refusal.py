"""What an API call can end in, other than an answer.

The server says no with a Kubernetes `Status`; its reason and causes are what a caller acts on, so the error carries
them whole. A server that is not there is another matter: that error says where it was looked for, and the mend.
"""

from __future__ import annotations

from typing import Any

from muslin.errors import MuslinError, Transient


class ApiError(MuslinError):
    """The server refused. `reason` is Kubernetes' word (NotFound, Conflict, Invalid ...), `causes` its details."""

    def __init__(self, status: dict[str, Any], code: int) -> None:
        super().__init__(str(status.get("message") or f"the server answered {code}"))
        self.status = status
        self.code = code
        self.reason = str(status.get("reason") or "")

    @property
    def causes(self) -> list[dict[str, str]]:
        """Each with `field`, `message`, `reason`; empty when the Status has none."""
        details = self.status.get("details")
        causes = details.get("causes") if isinstance(details, dict) else None
        return [cause for cause in causes or [] if isinstance(cause, dict)]


def reason(error: BaseException) -> str:
    """Why a connection failed, in the system's words: aiohttp's name the address once more, and TLS where none is."""
    cause = getattr(error, "os_error", None)
    return getattr(cause, "strerror", None) or str(error) or type(error).__name__


class Unreachable(Transient):
    """Nobody answers at the address."""

    def __init__(self, address: str, why: str, mend: str) -> None:
        super().__init__(f"nobody answers at {address} ({why}): {mend}")
        self.address = address
