"""IP protocol names and numbers (IANA "Assigned Internet Protocol Numbers"), in Calico's spelling."""

from __future__ import annotations

PROTOCOL_NUMBERS = {"ICMP": 1, "TCP": 6, "UDP": 17, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}
"""The names that Calico's API knows, and their numbers."""

PROTOCOLS_WITH_PORTS = frozenset({6, 17, 132, 136})
"""Protocols whose header begins with source and destination port."""

_BY_LOWER = {name.lower(): number for name, number in PROTOCOL_NUMBERS.items()}
_BY_NUMBER = {number: name for name, number in PROTOCOL_NUMBERS.items()}


def protocol_number(text: str | int) -> int:
    """6 for 'TCP', 'tcp', '6' or 6. Raises ValueError for unknown names and numbers outside 1..255."""
    if isinstance(text, str) and text.lower() in _BY_LOWER:
        return _BY_LOWER[text.lower()]
    try:
        number = int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a protocol: write one of {', '.join(PROTOCOL_NUMBERS)} or 1..255") from None
    if not 1 <= number <= 255:
        raise ValueError(f"protocol number {number} is outside 1..255")
    return number


def protocol_name(number: int) -> str:
    """'TCP' for 6; the number as text where there is no name."""
    return _BY_NUMBER.get(number, str(number))
