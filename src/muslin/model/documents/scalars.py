"""What YAML reads into a plain word: `yes` is true, `010` is 8.

The rules are those of Kubernetes' tools (YAML 1.1, as Go reads it), for the same file must mean the same to kubectl
and to us: yes, no, on and off are truth values; a leading zero is octal; 20:21 is text, and so is a date.
"""

from __future__ import annotations

import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **{word: float("nan") for word in (".nan", ".NaN", ".NAN")},
}
_FIRST_OF_NUMBER = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_OCTAL = re.compile(r"[-+]?0[0-9]+")
_BASES = {"x": 16, "b": 2, "o": 8}
_LONGEST_INTEGER = 20
_INT64, _UINT64 = 2**63, 2**64


def resolved(text: str) -> Scalar:
    """The value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    return _number(text) if text[0] in _FIRST_OF_NUMBER else text


def is_octal(text: str) -> bool:
    """Hardly anybody means eight who writes 010."""
    return _OCTAL.fullmatch(text) is not None


def _number(text: str) -> Scalar:
    plain = text.replace("_", "")
    if len(plain) <= _LONGEST_INTEGER and _INTEGER.fullmatch(plain):
        number = _integer(plain)
        if -_INT64 <= number < _UINT64:
            return number
    if _FLOAT.fullmatch(plain):
        real = float(plain)
        return real if abs(real) != float("inf") else text
    return text


def _integer(plain: str) -> int:
    digits = plain.lstrip("+-")
    sign = -1 if plain[0] == "-" else 1
    if digits[0] != "0" or digits == "0":
        return sign * int(digits)
    base = _BASES.get(digits[1].lower())
    return sign * (int(digits[2:], base) if base else int(digits, 8))
