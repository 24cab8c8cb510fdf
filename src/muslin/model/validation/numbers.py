"""Ports, protocols, AS numbers, communities, DSCP: numbers that may also be written as names or pairs.

YAML reads `22` as a number and `"22"` as text; both are fine here. What is not fine is what looks like something else:
"8000-9000" would be taken as the name of a port, and match nothing, for ever, without a word.
"""

from __future__ import annotations

import re

from muslin.model.validation.findings import listed, near, shown
from muslin.model.validation.wrong import Wrong
from muslin.net import PROTOCOL_NUMBERS, dscp_number

HIGHEST_PORT = 65535
_HIGHEST_AS = 4_294_967_295
_RANGE = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")
_PORT_NAME = re.compile(r"(?=.*[a-z])(?!.*--)[a-z0-9](?:[-a-z0-9]{0,13}[a-z0-9])?")
_COMMUNITY = re.compile(r"[0-9]{1,10}:[0-9]{1,10}(:[0-9]{1,10})?")


def port(value: int | str) -> Wrong | None:
    """A number, a range "first:last", or the name of an endpoint's port."""
    if isinstance(value, int) or _digits(value) is not None or _RANGE.fullmatch(value):
        return numeric_port(value)
    if _PORT_NAME.fullmatch(value):
        return None
    first, dash, last = value.replace(" ", "").partition("-")
    if dash and _digits(first) is not None and _digits(last) is not None:
        return f"{shown(value)} is no range of ports", "a range has a colon", f'write "{first}:{last}"'
    several = re.split(r"[,\s]+", value.strip(" ,"))
    if len(several) > 1:
        return f"{shown(value)} is no port", "one port or range goes here", f"write a list: [{', '.join(several)}]"
    return port_name(value)


def kubernetes_port(value: int | str) -> Wrong | None:
    """A number or a name; Kubernetes writes ranges in another way."""
    if isinstance(value, int):
        return numeric_port(value)
    digits, span = _digits(value), _RANGE.fullmatch(value.replace("-", ":").replace(" ", ""))
    if digits is not None:
        return f"{shown(value)} is no name of a port", "as text a port is a name", f"write {digits}, without quotes"
    if span:
        mend = f"write port: {int(span[1])} and endPort: {int(span[2])}"
        return f"{shown(value)} is no name of a port", "Kubernetes has endPort for ranges", mend
    return port_name(value)


def port_name(text: str) -> Wrong | None:
    """As Kubernetes names ports (RFC 6335)."""
    if _PORT_NAME.fullmatch(text):
        return None
    why = "it has 1-15 of a-z, 0-9 and '-', at least one letter, and no '-' at its ends or twice in a row"
    return f"{shown(text)} is no name of a port", why, "write one such as http-alt"


def numeric_port(value: int | str) -> Wrong | None:
    """A number, or a range "first:last"."""
    if isinstance(value, str):
        span = _RANGE.fullmatch(value)
        if span:
            return _range(value, int(span[1]), int(span[2]))
        number = _digits(value)
        if number is None:
            return f"{shown(value)} is no port number", "names mean nothing here", 'write a number, or "first:last"'
        value = number
    if 1 <= value <= HIGHEST_PORT:
        return None
    mend = "leave the ports out to match every port" if value == 0 else "write one from 1 to 65535"
    return f"{shown(value)} is no port", "ports go from 1 to 65535", mend


def _range(text: str, first: int, last: int) -> Wrong | None:
    if 1 <= first <= last <= HIGHEST_PORT:
        return None
    mend = f'write "{last}:{first}"' if 1 <= last < first <= HIGHEST_PORT else 'write one within "1:65535"'
    return f"{shown(text)} is no range of ports", "ports go from 1 to 65535, the smaller first", mend


def protocol(value: int | str) -> Wrong | None:
    """By name, spelled as Calico spells it, or by number."""
    known = f"it is {listed(PROTOCOL_NUMBERS)}, or a number from 1 to 255"
    number = value if isinstance(value, int) else _digits(value)
    if number is not None:
        return None if 1 <= number <= 255 else (f"{shown(value)} is no protocol", known, "write a number from 1 to 255")
    text = str(value)
    if text in PROTOCOL_NUMBERS:
        return None
    several = [near(word, PROTOCOL_NUMBERS) for word in re.split(r"[,/+&\s]+", text.strip(" ,"))]
    words = [word for word in several if word]
    if len(several) > 1 and len(words) == len(several):
        mend = f"write {len(words)} rules, one for each of {listed(words, 'and')}"
        return f"{shown(text)} names {len(words)} protocols", "a rule speaks of one", mend
    if text.casefold() in ("any", "all", "*", "ip"):
        return f"{shown(text)} is no protocol", known, "leave protocol out to match every one"
    meant = near(text, PROTOCOL_NUMBERS)
    return f"{shown(text)} is no protocol", known, f"write {meant}" if meant else "write one of them"


def protocol_of(value: int | str | None) -> int | None:
    """The number of a protocol that `protocol` finds nothing wrong with, else None."""
    if value is None or value == "" or protocol(value) is not None:
        return None
    if isinstance(value, str):
        return PROTOCOL_NUMBERS.get(value) or int(value)
    return value


def as_number(value: int | str) -> Wrong | None:
    """64512, or dotted "1.10"."""
    why = "AS numbers go from 1 to 4294967295, dotted from 0.1 to 65535.65535"
    number = value if isinstance(value, int) else as_number_of(value)
    if number is not None and 1 <= number <= _HIGHEST_AS:
        return None
    return f"{shown(value)} is no AS number", why, "leave it out" if number == 0 else "write one such as 64512"


def as_number_of(text: str) -> int | None:
    """The number that a text spells, plain or dotted; None for anything else."""
    high, dot, low = text.partition(".")
    if not dot:
        return _digits(text)
    first, second = _digits(high), _digits(low)
    if first is None or second is None or max(first, second) > 65535:
        return None
    return first * 65536 + second


def community(text: str) -> Wrong | None:
    """Standard `aa:nn` of 16 bits each, or large `aa:nn:mm` of 32 bits each."""
    found = _COMMUNITY.fullmatch(text)
    if not found:
        return f"{shown(text)} is no BGP community", "", "write one such as 65000:100, or large, 65000:1:2"
    most = _HIGHEST_AS if found[1] else 65535
    if all(int(part) <= most for part in text.split(":")):
        return None
    mend = "write smaller numbers" if found[1] else "write smaller numbers, or a large community such as 4200000000:1:1"
    return f"{shown(text)} is too large for a community", f"each of its numbers is {most} at most", mend


def dscp(value: int | str) -> Wrong | None:
    """A number or a name."""
    try:
        dscp_number(value)
    except ValueError:
        return f"{shown(value)} is no DSCP", "it is 0-63, DF, EF, AF11-AF43 or CS0-CS6", "write one of them"
    return None


def _digits(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None
