"""Our reader of HTTP against the standard library's: the same bytes, however they arrive, must mean the same."""

from __future__ import annotations

import http.client
import io
import socket
import threading
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muslin.client.address import Identity, parse
from muslin.client.http import Connection, Cut, Garbled, Response


class Dribble(io.RawIOBase):
    """Bytes that arrive in pieces, as on a network."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes = data, sizes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(self._sizes.pop(0) if self._sizes else len(self._data), len(buffer), len(self._data))
        buffer[:size], self._data = self._data[:size], self._data[size:]
        return size


class FakeSocket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def ours(data: bytes, sizes: list[int] | None = None) -> Response:
    return Response(io.BufferedReader(Dribble(data, list(sizes or []))))


bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
names = st.sampled_from(["X-One", "x-two", "Content-Type"])
headers = st.dictionaries(names, st.text("abc ;=", max_size=8), max_size=3)
lines_without_breaks = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=6)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    parts, given_headers = draw(bodies), draw(headers)
    lines = [f"{name}: {value}" for name, value in given_headers.items()]
    form = draw(st.sampled_from(["length", "chunked", "until the end"]))
    body = b"".join(parts)
    if form == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif form == "chunked":
        lines.append("Transfer-Encoding: chunked")
        extension = draw(st.sampled_from([b"", b";a=b"]))
        trailer = draw(st.sampled_from([b"", b"X-After: y\r\n"]))
        chunks = [b"%X%s\r\n%s\r\n" % (len(part), extension, part) for part in parts]
        body = b"".join([*chunks, b"0\r\n", trailer, b"\r\n"])
    before = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    status = draw(st.sampled_from(["200 OK", "404 Not Found", "422 ", "500 Internal Server Error"]))
    head = "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()
    return before + head + body


@given(answers(), st.lists(st.integers(1, 9), max_size=60))
def test_the_same_bytes_mean_what_the_standard_library_reads(data: bytes, sizes: list[int]) -> None:
    oracle = http.client.HTTPResponse(FakeSocket(data))  # type: ignore[arg-type]
    oracle.begin()

    found = ours(data, sizes)

    assert (found.status, found.reason) == (oracle.status, oracle.reason)
    # The mail parser keeps blanks behind a value; RFC 9110 §5.5 says that they are none of it.
    assert found.headers == {name.lower(): value.rstrip() for name, value in oracle.getheaders()}
    assert found.read() == oracle.read()
    assert found.ended
    assert found.keeps == (not oracle.will_close)


@given(answers(), st.data())
def test_an_answer_that_is_cut_short_is_never_taken_for_a_whole_one(data: bytes, choose: st.DataObject) -> None:
    """Only a body that lasts until the end of the connection has no way to tell."""
    cut = data[: choose.draw(st.integers(0, len(data) - 1))]
    until_the_end = b"Content-Length" not in data and b"chunked" not in data
    try:
        read = ours(cut).read()
    except (Cut, Garbled):
        return
    assert until_the_end
    assert data.endswith(read) or data.partition(b"\r\n\r\n")[2].startswith(read) or b"100" in data


@given(lines_without_breaks, st.lists(st.integers(1, 5)))
def test_a_stream_is_cut_at_its_lines_however_it_arrives(lines: list[bytes], sizes: list[int]) -> None:
    body = b"".join(line + b"\n" for line in lines)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    assert list(ours(head + body, sizes).lines()) == lines


@pytest.mark.parametrize("data", [
    b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nnocolon\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 " + b"x" * 70_000, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300,
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
])
def test_what_is_no_answer_is_an_error_and_never_a_hang(data: bytes) -> None:
    with pytest.raises((Cut, Garbled)):
        ours(data).read()


def test_a_server_that_answers_before_it_has_heard_all_is_heard() -> None:
    """413: it closes while we still send; why it did is in the answer."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        def answer() -> None:
            there, _ = listening.accept()
            there.recv(100)
            there.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            there.shutdown(socket.SHUT_WR)
            there.recv(1 << 24)
            there.close()

        threading.Thread(target=answer, daemon=True).start()
        address = parse(f"http://127.0.0.1:{listening.getsockname()[1]}")
        connection = Connection(address, Identity(), 5)
        response = connection.request("POST", "/", {}, b"x" * 300_000)

        assert response.status == 413
        assert not response.keeps
        connection.close()
