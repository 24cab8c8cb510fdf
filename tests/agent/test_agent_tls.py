"""Between machines the agent shows a certificate, and believes only a server that shows one too."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from muslin.agent.upstream import Upstream
from muslin.client.address import Identity
from muslin.client.refusal import Unreachable
from muslin.errors import Invalid
from netrig import run, wait_for


def certificate(directory: Path, name: str, authority: str = "") -> None:
    """NAME.pem and NAME.key; signed by itself when no authority is named."""
    signed = ("-CA", f"{directory}/{authority}.pem", "-CAkey", f"{directory}/{authority}.key") if authority else ()
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", *signed,
        "-keyout", str(directory / f"{name}.key"), "-out", str(directory / f"{name}.pem"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    for name, authority in (("ca", ""), ("server", "ca"), ("h1", "ca"), ("stranger", "")):
        certificate(tmp_path, name, authority)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = (
        "--store", f"sqlite:///{tmp_path}/store.db", "--listen", f"127.0.0.1:{port}",
        "--client-ca", f"{tmp_path}/ca.pem",
        "--tls-cert", f"{tmp_path}/server.pem", "--tls-key", f"{tmp_path}/server.key",
    )
    process = subprocess.Popen([sys.executable, "-m", "muslin.server", *words],
                               stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        wait_for("the server", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def asked(server: str, identity: Identity) -> object:
    async def scene() -> object:
        upstream = Upstream([server], identity)
        try:
            return await upstream.call("GET", "/apis/projectcalico.org/v3/nodes")
        finally:
            await upstream.close()

    return asyncio.run(scene())


def identity_of(directory: Path, name: str, authority: str = "ca") -> Identity:
    return Identity(f"{directory}/{name}.pem", f"{directory}/{name}.key", f"{directory}/{authority}.pem")


@pytest.mark.slow
def test_only_who_shows_the_right_certificate_is_let_in_and_believed(server: str, tmp_path: Path) -> None:
    assert asked(server, identity_of(tmp_path, "h1"))["items"] == []  # type: ignore[index]
    for name, authority in (("stranger", "ca"), ("h1", "stranger")):
        with pytest.raises(Unreachable):
            asked(server, identity_of(tmp_path, name, authority))


def test_certificates_that_are_not_there_are_named() -> None:
    with pytest.raises(Invalid, match=r"/nowhere/h1.pem"):
        Upstream(["https://127.0.0.1:6443"], Identity("/nowhere/h1.pem", "", ""))
