"""What daemons say while they run: one event a line, key=value, on stderr, where systemd and people look."""

from __future__ import annotations

import logging
import sys

import muslin.lean  # noqa: F401 (before structlog)

# isort: split
import structlog


def configure(*, debug: bool) -> None:
    """For this process. Colour only on a terminal."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=24) if sys.stderr.isatty()
            else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # one system call a line
        cache_logger_on_first_use=True,
    )
