"""Authorities and certificates for tests of TLS, by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def authority(folder: Path, name: str) -> None:
    """`NAME.pem` and `NAME.key`."""
    _openssl(folder, "req", "-x509", *_KEY, "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem",
             "-subj", f"/CN={name}")


def certificate(folder: Path, name: str, signer: str) -> None:
    """`NAME.pem` and `NAME.key`, for 127.0.0.1 and localhost."""
    (folder / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
    _openssl(folder, "req", *_KEY, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{signer}.pem", "-CAkey", f"{signer}.key",
             "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", f"{name}.pem")


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
