"""The small client against a plain HTTP server of the standard library: what it says when things go wrong."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest

from muslin.client.address import Identity
from muslin.client.blocking import Client
from muslin.client.kinds import Served, served
from muslin.client.refusal import ApiError, Unreachable
from muslin.errors import Invalid


class Answers(BaseHTTPRequestHandler):
    """Answers by path; keeps the connection, as the real one does."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, bytes]]

    def answer(self) -> None:
        self.server.seen.append((self.command, self.path, self._body()))  # type: ignore[attr-defined]
        if self.path == "/drop":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif self.path == "/once":
            self._send(200, {"ok": True})
            self.close_connection = True
        elif self.path == "/text":
            self._send(502, b"<html>bad gateway</html>")
        elif self.path == "/refuse":
            self._send(422, {"kind": "Status", "status": "Failure", "reason": "Invalid", "code": 422, "message": "no",
                             "details": {"causes": [{"field": "spec.x", "message": "wrong"}]}})
        elif self.path.startswith("/watch"):
            self._send(200, b'{"n": 1}\n\n{"n": 2}\n')
        elif self.path == "/apis":
            self._send(200, {"items": [{"metadata": {"name": "projectcalico.org"}, "versions": [{
                "version": "v3", "resources": [
                    {"resource": "globalnetworkpolicies", "responseKind": {"kind": "GlobalNetworkPolicy"},
                     "scope": "Cluster", "shortNames": ["gnp"]},
                    {"resource": "networkpolicies", "responseKind": {"kind": "NetworkPolicy"}, "scope": "Namespaced"},
                ]}]}]})
        else:
            self._send(200, {"path": self.path})

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer  # noqa: N815

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, body: Any) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "client"


class UnixServer(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        running.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def client(server: ThreadingHTTPServer) -> Client:
    return Client(f"http://127.0.0.1:{server.server_address[1]}", mend="start it")


def test_one_connection_carries_many_calls(client: Client, server: ThreadingHTTPServer) -> None:
    assert client.get("/a", limit="5") == {"path": "/a?limit=5"}
    assert client.post("/b", {"x": 1}) == {"path": "/b"}
    assert server.seen[1] == ("POST", "/b", b'{"x": 1}')  # type: ignore[attr-defined]


def test_a_unix_socket_is_an_address_like_others(tmp_path: Path) -> None:
    with UnixServer(str(tmp_path / "s.sock"), Answers) as running:
        running.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        assert Client(f"unix:{tmp_path}/s.sock").get("/a") == {"path": "/a"}
        running.shutdown()


def test_a_refusal_carries_the_servers_status(client: Client) -> None:
    with pytest.raises(ApiError) as refused:
        client.get("/refuse")

    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert refused.value.causes == [{"field": "spec.x", "message": "wrong"}]


def test_an_answer_that_is_no_api_is_shown_as_it_came(client: Client) -> None:
    """A proxy in between says something; hiding it would hide the proxy."""
    with pytest.raises(ApiError, match="bad gateway"):
        client.get("/text")


def test_a_connection_that_the_server_closed_is_opened_again_for_a_read(client: Client) -> None:
    client.get("/once")

    assert client.get("/a") == {"path": "/a"}


def test_a_write_whose_answer_was_lost_is_not_sent_again(client: Client, server: ThreadingHTTPServer) -> None:
    """It may have been carried out: twice could be once too often."""
    client.get("/a")
    with pytest.raises(Unreachable, match="start it"):
        client.post("/drop", {})

    assert [path for _, path, _ in server.seen].count("/drop") == 1  # type: ignore[attr-defined]


def test_a_stream_is_read_line_by_line(client: Client) -> None:
    assert [event["n"] for event in client.lines("/watch")] == [1, 2]


def test_nobody_there_names_the_address_and_the_mend(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=rf"{tmp_path}/none\.sock.*no such socket.*muslin up"):
        Client(f"unix:{tmp_path}/none.sock").get("/")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="refused"):
            Client(f"http://127.0.0.1:{free.getsockname()[1]}").get("/")


@pytest.mark.parametrize("address", ["", "unix:", "ftp://x:1", "http://127.0.0.1", "https://x:port", "127.0.0.1:80"])
def test_an_address_that_is_none_is_refused_at_once(address: str) -> None:
    with pytest.raises(Invalid, match=r"unix:|HOST:PORT"):
        Client(address)


def test_certificates_that_do_not_exist_are_named(tmp_path: Path) -> None:
    who = Identity(certificate=str(tmp_path / "me.pem"))
    with socket.create_server(("127.0.0.1", 0)) as there, pytest.raises(Invalid, match=r"me\.pem.*PEM"):
        Client(f"https://127.0.0.1:{there.getsockname()[1]}", identity=who).get("/")


def test_the_kinds_are_those_of_the_server(client: Client) -> None:
    kinds = {kind.plural: kind for kind in served(client)}

    assert kinds.keys() == {"globalnetworkpolicies", "networkpolicies"}
    policies = kinds["networkpolicies"]
    assert policies.path("shop", "a b") == "/apis/projectcalico.org/v3/namespaces/shop/networkpolicies/a%20b"
    assert policies.path() == "/apis/projectcalico.org/v3/networkpolicies"
    assert "gnp" in kinds["globalnetworkpolicies"].words()
    assert Served("Namespace", "namespaces", "v1", False).path(name="x") == "/api/v1/namespaces/x"
