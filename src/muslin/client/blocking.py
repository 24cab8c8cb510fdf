"""A blocking client on the standard library alone.

`muslin get` must answer in 150 ms, start-up of Python included, and the Neutron server forbids event loops of ours:
so this face imports little more than `socket` and `json` (aiohttp alone costs more than the whole command may).
"""

from __future__ import annotations

import json
import select
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from muslin.client.address import Address, Identity, parse
from muslin.client.http import Connection, Response
from muslin.client.refusal import ApiError, Unreachable
from muslin.errors import Invalid

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
_MEND = "start it with `muslin up` or `muslin server`, or say where it is with --server or MUSLIN_SERVER"


class Client:
    """One connection, kept alive between calls. Answers are JSON objects; a refusal raises ApiError."""

    def __init__(
        self, address: str, *, identity: Identity | None = None, timeout: float = 30.0, mend: str = _MEND
    ) -> None:
        self.address: Address = parse(address)
        self._identity = identity or Identity()
        self._timeout = timeout
        self._mend = mend
        self._connection: Connection | None = None
        self.with_writes: dict[str, str] = {}
        """Query of every request that is no read."""

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
        asked = query if method == "GET" else {**(query or {}), **self.with_writes}
        response = self._send(method, path, body, asked, accept, content_type)
        answer = _decode(self._read(response), response.status)
        if response.status >= 400:
            raise ApiError(answer, response.status)
        return answer

    def lines(self, path: str, *, accept: str = JSON, **query: str) -> Iterator[dict[str, Any]]:
        """A stream of JSON lines (a watch), for as long as the server sends. Empty lines are keep-alives."""
        response = self._send("GET", path, None, query, accept, JSON)
        if response.status >= 400:
            raise ApiError(_decode(self._read(response), response.status), response.status)
        if self._connection is not None:
            self._connection.socket.settimeout(None)
        try:
            for line in response.lines():
                if line.strip():
                    yield json.loads(line)
        except (OSError, ValueError) as error:
            raise Unreachable(str(self.address), f"it went away: {error}", self._mend) from None
        finally:
            self.close()

    def _send(
        self, method: str, path: str, body: object, query: dict[str, str] | None, accept: str, content_type: str
    ) -> Response:
        """A read is sent once more, on a new connection, when the kept one breaks; a write never: it may be done."""
        headers = {"Accept": accept, "User-Agent": "muslin"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = content_type
        target = _target(path, query)
        kept = self._connection is not None
        try:
            return self._connected().request(method, target, headers, data)
        except ConnectionError as error:
            self.close()
            if not kept or method != "GET":
                raise self._unreachable(error) from None
        except OSError as error:
            raise self._unreachable(error) from None
        try:
            return self._connected().request(method, target, headers, data)
        except OSError as error:
            raise self._unreachable(error) from None

    def _read(self, response: Response) -> bytes:
        try:
            data = response.read()
        except OSError as error:
            self.close()
            raise Unreachable(str(self.address), f"it went away mid-answer: {error}", self._mend) from None
        if not response.keeps:
            self.close()
        return data

    def _connected(self) -> Connection:
        """The kept one, unless the server has closed it meanwhile."""
        if self._connection is not None and select.select([self._connection.socket], [], [], 0)[0]:
            self.close()
        if self._connection is None:
            self._connection = Connection(self.address, self._identity, self._timeout)
        return self._connection

    def _unreachable(self, error: OSError) -> Unreachable:
        self.close()
        why = f"no answer in {self._timeout:g} s" if isinstance(error, TimeoutError) else _why(error)
        return Unreachable(str(self.address), why, self._mend)


def segment(text: str) -> str:
    """A name as one path segment."""
    return quote(text, safe="")


def _target(path: str, query: dict[str, str] | None) -> str:
    target = path + ("?" + urlencode(query) if query else "")
    if not target.isascii() or any(character <= " " or character == "\x7f" for character in target):
        raise Invalid(f"{target!r} is no path: names go through segment()")
    return target


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such socket"
    if isinstance(error, PermissionError):
        return "its socket is for root only: use sudo"
    return error.strerror or str(error) or type(error).__name__


def _decode(data: bytes, status: int) -> dict[str, Any]:
    try:
        answer = json.loads(data) if data else {}
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer
    text = data[:300].decode("utf-8", "replace").strip()
    return {"kind": "Status", "status": "Failure", "code": status, "message": text or f"the server answered {status}"}
