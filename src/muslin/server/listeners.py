"""Where the server can be reached, and who may reach it there.

    unix:PATH          who may open the socket: root only (mode 0600)
    HOST:PORT          TLS; who shows a client certificate of the given CA
    127.0.0.1:PORT     insecure, asked for as such: plain HTTP for trying out, on loopback only. Any user of this
                       machine reaches it. Web pages do not: what a browser sends names its origin, and is refused
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from muslin.errors import Invalid


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the server's certificate and key, and the CA of the clients that are let in."""

    certificate: Path
    key: Path
    client_ca: Path

    def context(self) -> ssl.SSLContext:
        """Raises Invalid."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise Invalid(
                f"the certificates cannot be used: {error}. Give PEM files: the server's certificate "
                f"({self.certificate}) and key ({self.key}), and the CA of its clients ({self.client_ca})"
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context


@dataclass(frozen=True, slots=True)
class Listener:
    """`path` for a unix socket, else `host` and `port`. `insecure`: neither TLS nor a socket of root's."""

    path: Path | None = None
    host: str = ""
    port: int = 0
    insecure: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.insecure else 'https'}://{host}:{self.port}"


def secure(text: str) -> Listener:
    """`unix:PATH` or `HOST:PORT`. Raises Invalid."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or len(os.fsencode(path)) > 107:
            raise Invalid(f"{text!r} is not a socket: write unix:PATH, the path has 1 to 107 bytes")
        return Listener(path=Path(path))
    host, port = _host_port(text)
    return Listener(host=host, port=port)


def insecure(text: str) -> Listener:
    """`127.0.0.1:PORT`, `[::1]:PORT` or `localhost:PORT`; anything else would be an open door. Raises Invalid."""
    host, port = _host_port(text)
    if host != "localhost" and not _is_loopback(host):
        raise Invalid(
            f"{text!r}: plain HTTP is for loopback only, everybody who reaches {host or 'any address'} could do "
            f"everything. Write 127.0.0.1:{port}, or --listen {text} with TLS"
        )
    return Listener(host="127.0.0.1" if host == "localhost" else host, port=port, insecure=True)


def is_own_page(request: web.Request) -> bool:
    """False for what a web page in somebody's browser may have sent to a loopback port."""
    host = request.headers.get("Host", "")
    name = host.rsplit(":", 1)[0].strip("[]") if not host.endswith("]") else host.strip("[]")
    if name not in ("localhost", "") and not _is_loopback(name):
        return False
    return "Origin" not in request.headers or request.headers["Origin"] == f"http://{host}"


async def listen(runner: web.AppRunner, listener: Listener, tls: Tls | None) -> web.BaseSite:
    """Raises Invalid."""
    if listener.path:
        site: web.BaseSite = web.SockSite(runner, _unix_socket(listener.path))
    elif listener.insecure:
        site = web.TCPSite(runner, listener.host, listener.port)
    elif tls is None:
        raise Invalid(f"--listen {listener.host}:{listener.port} needs TLS: give --tls-cert, --tls-key and --client-ca")
    else:
        site = web.TCPSite(runner, listener.host or None, listener.port, ssl_context=tls.context())
    try:
        await site.start()
    except OSError as error:
        raise Invalid(f"{listener} cannot be listened on: {error.strerror or error}") from None
    return site


def _unix_socket(path: Path) -> socket.socket:
    """Bound with mode 0600 from its first moment. A socket that nobody listens on any more is replaced."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        if path.is_socket():
            if _answers(path):
                raise Invalid(f"another server listens on {path}: stop it first, or choose another socket")
            path.unlink()
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            bound.bind(str(path))
        finally:
            os.umask(mask)
    except OSError as error:
        raise Invalid(f"the socket {path} cannot be made: {error.strerror}") from None
    return bound


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def _host_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or not 0 <= int(port) <= 65535:
        raise Invalid(f"{text!r} is no place to listen on: write unix:PATH or HOST:PORT")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

