"""Who may come in: root by the socket, who has a certificate by TLS, nobody else from elsewhere."""

from __future__ import annotations

import http.client
import socket
import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from muslin.errors import Invalid
from muslin.server.listeners import Tls, insecure, secure
from serverrig import free_port, running


def test_the_socket_is_for_root_only(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        assert stat.S_IMODE(api.path.stat().st_mode) == 0o600
    assert not api.path.exists()


def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s.sock"))
    with running(tmp_path) as api:
        assert api.get("/healthz").status == 200


def test_a_socket_that_somebody_listens_on_is_not_taken(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        with pytest.raises(Invalid, match="another server listens"), running(tmp_path):
            pass
        assert api.get("/healthz").status == 200


def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "s.sock").write_text("mine")
    with pytest.raises(Invalid), running(tmp_path):
        pass
    assert (tmp_path / "s.sock").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "unix:", "nowhere", "host:", "host:x", "host:70000", "unix:/" + "x" * 200])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        secure(text)


@pytest.mark.parametrize("text", ["0.0.0.0:8001", ":8001", "10.0.0.1:8001", "[::]:8001", "example.com:8001", "8001"])
def test_plain_http_is_for_loopback_only(text: str) -> None:
    with pytest.raises(Invalid):
        insecure(text)


@pytest.mark.parametrize("text", ["127.0.0.1:8001", "localhost:8001", "[::1]:8001", "127.9.9.9:8001"])
def test_loopback_is_accepted(text: str) -> None:
    assert insecure(text).insecure


def test_a_network_listener_needs_tls(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="needs TLS"), running(tmp_path, listen=(f"127.0.0.1:{free_port()}",)):
        pass


@pytest.mark.parametrize(("headers", "code"), [
    ({}, 200), ({"Host": "localhost:1"}, 200), ({"Host": "evil.example"}, 403), ({"Host": "evil.example:8001"}, 403),
    ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
])
def test_web_pages_from_elsewhere_are_not_answered(tmp_path: Path, headers: dict[str, str], code: int) -> None:
    """A browser on this machine can reach loopback for any page it shows; the page must not."""
    port = free_port()
    with running(tmp_path, insecure_listen=f"127.0.0.1:{port}") as api:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/version", headers=headers)
        assert connection.getresponse().status == code
        connection.close()
        assert api.get("/version").status == 200


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Invalid, match="cannot be listened on"), running(tmp_path, insecure_listen=address):
            pass


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def authority(folder: Path, name: str) -> None:
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")


def certificate(folder: Path, name: str, signer: str) -> None:
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{signer}.pem", "-CAkey", f"{signer}.key",
            "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", f"{name}.pem")


def ask(port: int, folder: Path, client: str | None) -> int:
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if client:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request("GET", "/version")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_tls_lets_in_whoever_shows_a_certificate_of_our_authority(tmp_path: Path) -> None:
    authority(tmp_path, "ca")
    authority(tmp_path, "stranger")
    certificate(tmp_path, "server", "ca")
    certificate(tmp_path, "client", "ca")
    certificate(tmp_path, "intruder", "stranger")
    tls = Tls(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")
    port = free_port()
    with running(tmp_path, listen=(f"127.0.0.1:{port}", f"unix:{tmp_path}/s.sock"), tls=tls):
        assert ask(port, tmp_path, "client") == 200
        for stranger in (None, "intruder"):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                ask(port, tmp_path, stranger)
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        plain.request("GET", "/version")
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            plain.getresponse()
        plain.close()


def test_certificates_that_cannot_be_used_are_said_so(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nonsense")
    tls = Tls(tmp_path / "x.pem", tmp_path / "x.pem", tmp_path / "none.pem")
    with pytest.raises(Invalid, match="certificates cannot be used"), running(
            tmp_path, listen=(f"127.0.0.1:{free_port()}",), tls=tls):
        pass
