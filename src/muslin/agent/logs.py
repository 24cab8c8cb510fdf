"""One event a line, `key=value`, on standard error: for people's eyes, grep and journald alike."""

from __future__ import annotations

import logging
import os
import sys

import structlog


def configure() -> None:
    """Unless somebody has done so already. MUSLIN_LOG=debug tells more."""
    if structlog.is_configured():
        return
    level = logging.getLevelNamesMapping().get(os.environ.get("MUSLIN_LOG", "info").upper(), logging.INFO)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
