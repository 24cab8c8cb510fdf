"""The client that a command line asks for: flags first, then the environment, then this machine's socket."""

from __future__ import annotations

import os

from muslin.cli.parsing import Words
from muslin.client.address import Identity
from muslin.client.blocking import Client


def address(words: Words) -> str:
    """As `paths.server_address()`, without the 5 ms that pathlib takes to import."""
    run = os.environ.get("MUSLIN_RUN", "/run/muslin")
    return words.server or os.environ.get("MUSLIN_SERVER") or f"unix:{run}/server.sock"


def identity(words: Words) -> Identity:
    """Who we are, and whom we trust."""
    return Identity(
        certificate=words.client_certificate or os.environ.get("MUSLIN_CERTIFICATE", ""),
        key=words.client_key or os.environ.get("MUSLIN_KEY", ""),
        authority=words.certificate_authority or os.environ.get("MUSLIN_CA", ""),
    )


def connect(words: Words) -> Client:
    """Nothing is sent yet. Raises Invalid for an address that is none."""
    client = Client(address(words), identity=identity(words))
    if getattr(words, "force", False):
        client.with_writes["lockout"] = "force"
    return client
