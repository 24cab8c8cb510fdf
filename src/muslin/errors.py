"""Every error says whose fault it is, because that decides what happens next.

`Invalid`    the user's object: treated as absent or denying, its status says why; never retried.
`Conflict`   a compare-and-swap was lost: read again and retry now.
`Transient`  the kernel, the store or the network: retry with backoff.
`Broken`     our own bug: crash, the supervisor restarts, the kernel keeps its last good state.

This module lies beside the rooms, not in one: every room may import it, it imports nothing.
"""

from __future__ import annotations


class MuslinError(Exception):
    """Base of all errors that muslin raises on purpose."""


class Invalid(MuslinError, ValueError):
    """The user's object or words are wrong. The message says where, what, why and the mend."""


class Conflict(MuslinError):
    """Somebody else wrote first. Read again, decide again, write again."""


class Transient(MuslinError):
    """It may work in a moment. Retry with backoff."""


class Broken(MuslinError):
    """A law of this program was broken: our bug."""
