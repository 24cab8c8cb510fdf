"""`muslin server`: the API, its store, the calculation."""

from __future__ import annotations

import asyncio
from pathlib import Path

from muslin.cli import logs
from muslin.cli.faults import Misused
from muslin.cli.parsing import Parser, Words
from muslin.cli.signals import stop_on_signals
from muslin.server.listeners import Tls
from muslin.server.run import ServerOptions, serve

EXAMPLES = """
muslin server                                            SQLite in /var/lib/muslin, a socket for root only
muslin server --store sqlite:////srv/muslin.db --listen unix:/run/muslin/server.sock
muslin server --listen 0.0.0.0:6443 --tls-cert srv.pem --tls-key srv.key --client-ca ca.pem
muslin server --insecure-listen 127.0.0.1:8001           for kubectl -s http://127.0.0.1:8001, to try out
"""
MORE = """\
Who can open the socket, or shows a client certificate of the given authority, may do everything.
--insecure-listen lets every user of this machine in; it listens on loopback only."""


def options(parser: Parser) -> None:
    """What `up` has in common with it."""
    parser.add_argument("--store", default="", metavar="URL",
                        help="sqlite:///FILE or memory: (default: in /var/lib/muslin)")
    parser.add_argument("--listen", action="append", default=[], metavar="PLACE",
                        help="unix:PATH (default: /run/muslin/server.sock), or HOST:PORT with TLS; may be repeated")
    parser.add_argument("--insecure-listen", default="", metavar="127.0.0.1:PORT", help="plain HTTP, loopback only")
    parser.add_argument("--tls-cert", default="", metavar="FILE", help="the server's certificate")
    parser.add_argument("--tls-key", default="", metavar="FILE", help="its key")
    parser.add_argument("--client-ca", default="", metavar="FILE", help="who signs the clients that are let in")


def chosen(words: Words) -> ServerOptions:
    """What the words say; the rest is as usual. Raises Misused."""
    files = [words.tls_cert, words.tls_key, words.client_ca]
    if any(files) and not all(files):
        raise Misused("TLS needs all three: --tls-cert, --tls-key and --client-ca")
    usual = ServerOptions()
    options = ServerOptions(
        store=words.store or usual.store,
        listen=tuple(words.listen) or usual.listen,
        insecure_listen=words.insecure_listen,
        tls=Tls(*map(Path, files)) if all(files) else None,
    )
    for listener in options.listeners():
        if not (listener.path or listener.insecure or options.tls):
            raise Misused(f"--listen {listener.host}:{listener.port} needs TLS: give --tls-cert, --tls-key and "
                          "--client-ca (or, to try out on this machine, --insecure-listen 127.0.0.1:PORT)")
    return options


def run(arguments: list[str]) -> int:
    parser = Parser("server", "The API server, with its store.", usage="[options]", examples=EXAMPLES, more=MORE)
    options(parser)
    words = parser.read(arguments)
    wanted = chosen(words)
    logs.configure(debug=words.debug)
    asyncio.run(_serve(wanted))
    return 0


async def _serve(wanted: ServerOptions) -> None:
    await serve(wanted, stop_on_signals())
