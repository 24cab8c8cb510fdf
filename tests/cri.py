"""The smallest client of a container runtime's CRI: pod sandboxes over gRPC, their messages written by hand.

The messages are few and small; generated code for the whole of CRI would be 100 times as long. Numbers of fields are
those of cri-api, runtime/v1/api.proto.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import grpc

from rootfs import archive


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Those that have a length: texts and messages."""
    at = 0
    while at < len(message):
        key, at = _read(message, at)
        length, at = _read(message, at)
        if key & 7 == 2:
            yield key >> 3, message[at:at + length]
            at += length


def _read(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


class Cri:
    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix://{socket}")

    def close(self) -> None:
        self._channel.close()

    def _call(self, what: str, message: bytes) -> bytes:
        call = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{what}")
        answer: bytes = call(message, timeout=60)
        return answer

    def status(self) -> str:
        """Of the runtime: its conditions, as bytes that hold their names."""
        return self._call("Status", b"").decode(errors="replace")

    def run_pod(self, namespace: str, name: str, annotations: dict[str, str] | None = None) -> str:
        """The id of its sandbox."""
        config = field(1, field(1, name) + field(2, f"uid-{name}") + field(3, namespace)) + field(3, "/tmp")
        for key, value in (annotations or {}).items():
            config += field(7, field(1, key) + field(2, value))
        config += field(8, b"")
        return dict(fields(self._call("RunPodSandbox", field(1, config))))[1].decode()

    def addresses(self, pod: str) -> list[str]:
        status = dict(fields(self._call("PodSandboxStatus", field(1, pod))))[1]
        network = dict(fields(status))[5]
        return [dict(fields(value))[1].decode() if number == 2 else value.decode()
                for number, value in fields(network)]

    def remove_pod(self, pod: str) -> None:
        self._call("StopPodSandbox", field(1, pod))
        self._call("RemovePodSandbox", field(1, pod))


def pause_image(directory: Path, name: str) -> Path:
    """An image for `ctr image import`: busybox that sleeps, where others have a `pause`."""
    layer = archive(directory).read_bytes()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/bin/sleep", "1000"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]},
    }).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    file = directory / "pause.tar"
    with tarfile.open(file, "w") as tar:
        for member, data in (("config.json", config), ("layer.tar", layer), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return file
