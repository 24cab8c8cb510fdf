"""Names of the six bits by which a packet asks for a class of service (RFC 2474, 2597, 3246), in Calico's spelling."""

from __future__ import annotations

DSCP_NUMBERS = {
    "DF": 0, "EF": 46, **{f"CS{c}": 8 * c for c in range(7)},
    **{f"AF{c}{d}": 8 * c + 2 * d for c in range(1, 5) for d in range(1, 4)},
}
"""The names that Calico's API knows."""


def dscp_number(text: str | int) -> int:
    """46 for 'EF', 'ef', '46' or 46. Raises ValueError for unknown names and numbers outside 0..63."""
    word = str(text).strip().upper()
    if word in DSCP_NUMBERS:
        return DSCP_NUMBERS[word]
    if not (word.isascii() and word.isdigit() and int(word) <= 63):
        raise ValueError(f"{text!r} is no DSCP: write 0..63, DF, EF, AF11..AF43 or CS0..CS6")
    return int(word)
