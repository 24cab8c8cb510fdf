"""Where an API is: `unix:PATH`, `http://HOST:PORT` (loopback only) or `https://HOST:PORT` with a client certificate."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from muslin.errors import Invalid


class Address(NamedTuple):  # a dataclass would cost the command line 8 ms of imports
    """`path` for a unix socket, else host and port."""

    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.scheme == "unix" else f"{self.scheme}://{self.host}:{self.port}"


class Identity(NamedTuple):
    """Files of a client certificate, its key, and the authority that signed the server's."""

    certificate: str = ""
    key: str = ""
    authority: str = ""


def parse(text: str) -> Address:
    """Raises Invalid, saying what to write."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path:
            raise Invalid(f"server address {text!r} names no socket: write unix:/run/muslin/server.sock")
        return Address(scheme="unix", path=path)
    parts = urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        raise Invalid(f"server address {text!r} has a bad port: write https://HOST:PORT") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port is None:
        raise Invalid(f"server address {text!r} is not one: write unix:PATH, https://HOST:PORT or http://127.0.0.1:PORT")
    return Address(scheme=parts.scheme, host=parts.hostname, port=port)
