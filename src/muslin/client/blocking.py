"""A blocking client on the standard library alone.

`muslin get` must answer in 150 ms, start-up of Python included, and the Neutron server forbids event loops of ours:
so this face imports `http.client` and nothing heavier (aiohttp alone costs more than the whole command may).
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from muslin.client.address import Address, Identity, parse
from muslin.client.refusal import ApiError, Unreachable
from muslin.errors import Invalid

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_MEND = "start it with `muslin up` or `muslin server`, or say where it is with --server or MUSLIN_SERVER"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """One connection, kept alive between calls. Answers are JSON objects; a refusal raises ApiError."""

    def __init__(
        self, address: str, *, identity: Identity | None = None, timeout: float = 30.0, mend: str = _MEND
    ) -> None:
        self.address = parse(address)
        self._identity = identity
        self._timeout = timeout
        self._mend = mend
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str, *, accept: str = JSON, **query: str) -> dict[str, Any]:
        return self.call("GET", path, query=query, accept=accept)

    def post(self, path: str, body: object, **query: str) -> dict[str, Any]:
        return self.call("POST", path, body=body, query=query)

    def put(self, path: str, body: object, **query: str) -> dict[str, Any]:
        return self.call("PUT", path, body=body, query=query)

    def patch(self, path: str, body: object, *, kind: str = MERGE_PATCH, **query: str) -> dict[str, Any]:
        return self.call("PATCH", path, body=body, query=query, content_type=kind)

    def delete(self, path: str, body: object = None, **query: str) -> dict[str, Any]:
        return self.call("DELETE", path, body=body, query=query)

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: dict[str, str] | None = None,
        accept: str = JSON,
        content_type: str = JSON,
    ) -> dict[str, Any]:
        """One request and its JSON answer. Raises ApiError, Unreachable."""
        response = self._send(method, path, body, query, accept, content_type)
        answer = _decode(self._read(response), response.status)
        if response.status >= 400:
            raise ApiError(answer, response.status)
        return answer

    def lines(self, path: str, *, accept: str = JSON, **query: str) -> Iterator[dict[str, Any]]:
        """A stream of JSON lines (a watch), for as long as the server sends. Empty lines are keep-alives."""
        response = self._send("GET", path, None, query, accept, JSON)
        if response.status >= 400:
            raise ApiError(_decode(self._read(response), response.status), response.status)
        if self._connection is not None and self._connection.sock is not None:
            self._connection.sock.settimeout(None)
        try:
            while line := response.readline():
                if line.strip():
                    yield json.loads(line)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(str(self.address), f"it went away: {error}", self._mend) from None

    def _send(
        self, method: str, path: str, body: object, query: dict[str, str] | None, accept: str, content_type: str
    ) -> http.client.HTTPResponse:
        headers = {"Accept": accept, "User-Agent": "muslin"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        target = path + ("?" + urlencode(query) if query else "")
        for fresh in (False, True):
            connection = self._connected(fresh=fresh)
            try:
                connection.request(method, target, body=data, headers=headers)
                return connection.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                self.close()
                if fresh or method != "GET":  # a write may have been carried out: never send it twice
                    raise Unreachable(str(self.address), str(error) or "connection lost", self._mend) from None
            except TimeoutError:
                self.close()
                raise Unreachable(str(self.address), f"no answer in {self._timeout:g} s", self._mend) from None
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise Unreachable(str(self.address), _why(error), self._mend) from None
        raise Unreachable(str(self.address), "connection lost", self._mend)

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(str(self.address), f"it went away mid-answer: {error}", self._mend) from None

    def _connected(self, *, fresh: bool) -> http.client.HTTPConnection:
        if fresh:
            self.close()
        if self._connection is None:
            self._connection = _connection(self.address, self._identity, self._timeout)
        return self._connection


def segment(text: str) -> str:
    """A name as one path segment."""
    return quote(text, safe="")


def _connection(address: Address, identity: Identity | None, timeout: float) -> http.client.HTTPConnection:
    if address.scheme == "unix":
        return _UnixConnection(address.path, timeout)
    if address.scheme == "http":
        return http.client.HTTPConnection(address.host, address.port, timeout=timeout)
    import ssl  # 20 ms: only where TLS is spoken

    who = identity or Identity()
    try:
        context = ssl.create_default_context(cafile=who.authority or None)
        if who.certificate:
            context.load_cert_chain(who.certificate, who.key or None)
    except OSError as error:  # ssl.SSLError among them
        files = ", ".join(filter(None, who))
        raise Invalid(f"certificates {files}: {error}: name PEM files that exist and belong together") from None
    return http.client.HTTPSConnection(address.host, address.port, timeout=timeout, context=context)


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such socket"
    if isinstance(error, PermissionError):
        return "its socket is for root only: use sudo"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _decode(data: bytes, status: int) -> dict[str, Any]:
    try:
        answer = json.loads(data) if data else {}
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer
    text = data[:300].decode("utf-8", "replace").strip()
    return {"kind": "Status", "status": "Failure", "code": status, "message": text or f"the server answered {status}"}
