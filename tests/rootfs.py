"""What containers of the tests are made of: busybox, and nothing else."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path

TOOLS = ("sh", "sleep", "ping", "ip", "nc", "wget", "httpd", "nslookup", "cat", "echo")


def _busybox() -> str:
    found = shutil.which("busybox")
    assert found, "busybox-static is not installed"
    return found


def image(directory: Path) -> Path:
    """A root file system as a directory."""
    root = directory / "rootfs"
    for name in ("bin", "etc", "proc", "sys", "dev", "tmp", "run"):
        (root / name).mkdir(parents=True)
    shutil.copy(_busybox(), root / "bin/busybox")
    for name in TOOLS:
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    return root


def archive(directory: Path) -> Path:
    """The same as a tar file, for `import`."""
    file = directory / "busybox.tar"
    with tarfile.open(file, "w") as tar:
        tar.add(_busybox(), "bin/busybox")
        for name in TOOLS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        passwd = b"root:x:0:0:root:/:/bin/sh\n"
        entry = tarfile.TarInfo("etc/passwd")
        entry.size = len(passwd)
        tar.addfile(entry, io.BytesIO(passwd))
    return file
