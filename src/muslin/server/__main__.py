"""`python -m muslin.server`: a server without the command line's comforts, for tests and for supervisors."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from muslin.errors import Invalid
from muslin.server.listeners import Tls
from muslin.server.run import ServerOptions, serve


def main() -> int:
    parser = argparse.ArgumentParser(prog="muslin.server", description=__doc__)
    parser.add_argument("--store", default="")
    parser.add_argument("--listen", action="append", default=[])
    parser.add_argument("--insecure-listen", default="")
    parser.add_argument("--tls-cert", type=Path)
    parser.add_argument("--tls-key", type=Path)
    parser.add_argument("--client-ca", type=Path)
    asked = parser.parse_args()
    tls = Tls(asked.tls_cert, asked.tls_key, asked.client_ca) if asked.tls_cert else None
    given = {"store": asked.store, "listen": tuple(asked.listen), "insecure_listen": asked.insecure_listen, "tls": tls}
    options = ServerOptions(**{name: value for name, value in given.items() if value})
    try:
        asyncio.run(_until_told(options))
    except Invalid as error:
        print(f"muslin.server: {error}", file=sys.stderr)
        return 1
    return 0


async def _until_told(options: ServerOptions) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(options, stop)


if __name__ == "__main__":
    sys.exit(main())
