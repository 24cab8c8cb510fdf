"""`muslin label`."""

from __future__ import annotations

from muslin.cli.labelling import change

EXAMPLES = """
muslin label node h1 rack=east
muslin label wep -l app=web -n shop tier=front
muslin label node h1 rack=west --overwrite
muslin label node h1 rack-                remove it
"""


def run(arguments: list[str]) -> int:
    return change("labels", "label", "Set or remove labels of objects.", EXAMPLES, arguments)
