"""What dockerd shows its user word for word."""

from __future__ import annotations

from muslin.errors import Invalid


class Refused(Invalid):
    """The user asked for something that cannot be; the text says what to write instead."""
