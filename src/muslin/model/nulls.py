"""A null in a resource counts as absent, as it does for Go's decoder: `order: null` is no order."""

from __future__ import annotations

from typing import Any


def without_nulls(value: Any) -> Any:
    """The value without the fields that are null. Entries of lists stay: a null there is a fault of its own."""
    if isinstance(value, dict):
        return {key: without_nulls(below) if isinstance(below, dict | list) else below
                for key, below in value.items() if below is not None}
    if isinstance(value, list):
        return [without_nulls(below) if isinstance(below, dict | list) else below for below in value]
    return value
