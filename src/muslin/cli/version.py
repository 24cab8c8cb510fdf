"""`muslin version`."""

from __future__ import annotations

from muslin import __version__
from muslin.cli.connection import connect
from muslin.cli.parsing import Parser
from muslin.client.refusal import Unreachable


def run(arguments: list[str]) -> int:
    parser = Parser("version", "Versions of this command and of the server.")
    parser.add_argument("--client", action="store_true", help="of this command only")
    words = parser.read(arguments)
    print(f"muslin {__version__}")
    if words.client:
        return 0
    client = connect(words)
    try:
        answer = client.get("/muslin/v1/status")
    except Unreachable:
        print(f"server: none at {client.address}")
        return 0
    server = answer.get("server") or {}
    print(f"server: muslin {server.get('version', 'of an unknown version')} at {client.address}")
    return 0
