"""What could stand in a place, for the mend of a fault: `write nets: [10.0.0.0/24]`."""

from __future__ import annotations

from typing import Any

from muslin.model.outline import Outline, Sort
from muslin.model.validation.findings import listed, quoted, shown

_LONGEST = 60
_OF_FORM = {
    "name": "a name such as web-1", "selector": "a selector such as role == 'db'", "address": "10.0.0.1",
    "address4": "10.0.0.1", "address6": "fd00::1", "net": "10.0.0.0/24", "net4": "10.0.0.0/24", "net6": "fd00::/64",
    "cidr": "10.0.0.0/24", "cidr4": "10.0.0.1/24", "cidr6": "fd00::1/64", "rule_net": "10.0.0.0/24",
    "pool_cidr": "10.65.0.0/16", "mac": "02:00:0a:00:00:01", "interface": "an interface such as eth0",
    "duration": "90s", "port": "443", "numeric_port": "443", "protocol": "TCP", "as_number": "64512",
    "community": "65000:100", "dscp": "46", "peer_address": "10.0.0.1", "port_name": "http", "health_name": "a name",
}


def sample(outline: Outline) -> str:
    """One good value, as YAML."""
    if outline.enum:
        return listed(outline.enum)
    if outline.form in _OF_FORM:
        return _OF_FORM[outline.form]
    match outline.sort:
        case Sort.STRUCT:
            return example(outline)
        case Sort.LIST:
            return f"[{sample(outline.item)}]" if outline.item else "[]"
        case Sort.INTEGER:
            return str(max(outline.least or 0, 1))
        case Sort.NUMBER:
            return "100"
        case Sort.FLAG:
            return "true"
        case _:
            return "a text"


def example(outline: Outline) -> str:
    """A struct with one of its fields: `{action: Allow}`."""
    name, field = next(iter(outline.fields.items()))
    return f"{{{name}: {field.enum[0] if field.enum else '...'}}}"


def as_list(value: Any) -> str:
    """The mend for what should have been a list."""
    if isinstance(value, dict):
        return "put a dash before its first field"
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        text = value if isinstance(value, str) else shown(value)
        return f"write [{text}]" if len(text) < _LONGEST else "put a dash before it"
    return "write a list: [...]"


def as_number(value: Any, outline: Outline) -> str:
    """The mend for what should have been a number."""
    bare = str(value).strip() if isinstance(value, str | float) else ""
    try:
        number = float(bare)
    except ValueError:
        return f"write {sample(outline)}"
    if outline.sort is Sort.NUMBER and len(bare) < 30:
        return f"write {bare}, without quotes"
    return f"write {int(number)}" if abs(number) < 2**63 else f"write {sample(outline)}"


def as_text(value: Any, outline: Outline) -> str:
    """The mend for what should have been text."""
    if outline.form in ("duration", "timer") and isinstance(value, int) and not isinstance(value, bool):
        return f"say the unit: {value}s" if abs(value) < 2**63 else f"write {sample(outline)}"
    return quoted(shown(value)) if isinstance(value, int | float) else f"write {sample(outline)}"


def as_flag(value: Any) -> str:
    """The mend for what should have been true or false."""
    word = str(value).casefold() if isinstance(value, str) or value in (0, 1) else ""
    bare = ", without quotes" if word in ("true", "false") else ""
    if word in ("true", "yes", "on", "1", "enabled"):
        return f"write true{bare}"
    return f"write false{bare}" if word in ("false", "no", "off", "0", "disabled") else "write true or false"


def as_mixed(value: Any, outline: Outline) -> str:
    """The mend for what should have been a whole number or text."""
    if isinstance(value, float) and not value.is_integer() and abs(value) < 2**63:
        return quoted(shown(value))
    return as_number(value, outline) if isinstance(value, float) else f"write {sample(outline)}"
