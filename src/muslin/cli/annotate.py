"""`muslin annotate`."""

from __future__ import annotations

from muslin.cli.labelling import change

EXAMPLES = """
muslin annotate gnp web ticket=4711
muslin annotate gnp web ticket-           remove it
"""


def run(arguments: list[str]) -> int:
    return change("annotations", "annotate", "Set or remove annotations of objects.", EXAMPLES, arguments)
