"""HTTP/1.1 as far as an API needs it: one request at a time over one kept connection.

The standard library's `http.client` speaks it too, but importing it (with the mail parser and TLS that it brings) takes
30 ms, more than all the rest of `muslin get` together. What is here is what an API answers with: bodies by length, in
chunks, or to the end of the connection. The tests read the same bytes with `http.client` and compare.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from typing import Any

from muslin.client.address import Address, Identity
from muslin.errors import Invalid

LONGEST_LINE = 65536
MOST_HEADERS = 256
BODILESS = frozenset({204, 304})


class Cut(ConnectionResetError):
    """The connection ended where more should have come."""


class Garbled(OSError):
    """What came is not HTTP."""


class Response:
    """Its body must be read, or the connection closed, before the next request."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self.status, self.reason = _status(file)
        self.headers = _headers(file)
        while 100 <= self.status < 200:
            self.status, self.reason = _status(file)
            self.headers = _headers(file)
        self._chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        self._left = _length(self.headers) if not self._chunked else None
        self._chunk = 0
        self.ended = self.status in BODILESS or self._left == 0

    @property
    def keeps(self) -> bool:
        """May the connection carry another request after the body?"""
        bounded = self._chunked or self._left is not None or self.status in BODILESS
        return bounded and self.headers.get("connection", "").lower() != "close"

    def read(self) -> bytes:
        """The whole body. Raises Cut, Garbled."""
        return b"".join(self.parts())

    def parts(self) -> Iterator[bytes]:
        """The body as it comes. Raises Cut, Garbled."""
        while not self.ended:
            part = self._chunk_part() if self._chunked else self._plain_part()
            if part:
                yield part

    def lines(self) -> Iterator[bytes]:
        """The body line by line, each as soon as it is there, without its line break."""
        rest = b""
        for part in self.parts():
            *whole, rest = (rest + part).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def _plain_part(self) -> bytes:
        part = self._file.read1(LONGEST_LINE if self._left is None else min(self._left, LONGEST_LINE))
        if self._left is not None:
            if not part:
                raise Cut(f"the answer ended {self._left} bytes early")
            self._left -= len(part)
        self.ended = not part or self._left == 0
        return part

    def _chunk_part(self) -> bytes:
        if not self._chunk:
            self._chunk = _chunk_size(_line(self._file))
            if not self._chunk:
                while _line(self._file):  # trailers
                    pass
                self.ended = True
                return b""
        part = self._file.read1(min(self._chunk, LONGEST_LINE))
        if not part:
            raise Cut("the answer ended in the middle of a chunk")
        self._chunk -= len(part)
        if not self._chunk and _line(self._file):
            raise Garbled("a chunk is longer than it said")
        return part


class Connection:
    """Opened when made. Raises OSError, Invalid (certificates)."""

    def __init__(self, address: Address, identity: Identity, timeout: float) -> None:
        self._host = "localhost" if address.scheme == "unix" else _authority(address)
        self.socket = _connected(address, identity, timeout)
        self._file = self.socket.makefile("rb")

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        """Raises OSError."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}", *(f"{k}: {v}" for k, v in headers.items())]
        if body is not None or method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {len(body or b'')}")
        with suppress(BrokenPipeError, ConnectionResetError):  # who has heard enough (413) may have answered already
            self.socket.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b""))
        return Response(self._file)

    def close(self) -> None:
        self._file.close()
        self.socket.close()


def _connected(address: Address, identity: Identity, timeout: float) -> socket.socket:
    if address.scheme == "unix":
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(timeout)
        try:
            made.connect(address.path)
        except OSError:
            made.close()
            raise
        return made
    made = socket.create_connection((address.host, address.port), timeout)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.scheme == "http":
        return made
    try:
        wrapped: socket.socket = _tls(identity).wrap_socket(made, server_hostname=address.host)
    except BaseException:
        made.close()
        raise
    return wrapped


def _tls(identity: Identity) -> Any:
    import ssl  # 7 ms: only where TLS is spoken

    try:
        context = ssl.create_default_context(cafile=identity.authority or None)
        context.set_alpn_protocols(["http/1.1"])
        if identity.certificate:
            context.load_cert_chain(identity.certificate, identity.key or None)
    except OSError as error:  # ssl.SSLError among them
        files = ", ".join(filter(None, identity))
        raise Invalid(f"certificates {files}: {error}: name PEM files that exist and belong together") from None
    return context


def _authority(address: Address) -> str:
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _line(file: BufferedReader) -> bytes:
    """Without its line break. Raises Cut, Garbled."""
    line = file.readline(LONGEST_LINE + 1)
    if len(line) > LONGEST_LINE:
        raise Garbled("a line of the answer has no end")
    if not line.endswith(b"\n"):
        raise Cut("the connection ended" if not line else "the answer ended in the middle of a line")
    return line.rstrip(b"\r\n")


def _status(file: BufferedReader) -> tuple[int, str]:
    line = _line(file).decode("latin-1")
    version, _, rest = line.partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or len(code) != 3 or not code.isdigit():
        raise Garbled(f"this is no HTTP server: it says {line[:60]!r}")
    return int(code), reason.strip()


def _headers(file: BufferedReader) -> dict[str, str]:
    """Names in small letters. Of a name that comes twice the values are joined, as RFC 9110 §5.3 says."""
    found: dict[str, str] = {}
    for _ in range(MOST_HEADERS):
        line = _line(file).decode("latin-1")
        if not line:
            return found
        name, colon, value = line.partition(":")
        if not colon:
            raise Garbled(f"header {line[:60]!r} has no colon")
        key = name.strip().lower()
        found[key] = f"{found[key]}, {value.strip()}" if key in found else value.strip()
    raise Garbled(f"more than {MOST_HEADERS} headers")


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise Garbled(f"Content-Length {text[:60]!r} is no number")
    return int(text)


def _chunk_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    try:
        size = int(text, 16)
    except ValueError:
        size = -1
    if size < 0 or text[:1] in b"+-" or not text:
        raise Garbled(f"chunk size {line[:60]!r} is no number")
    return size
