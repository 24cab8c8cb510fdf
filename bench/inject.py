"""A packet source that costs almost nothing: the kernel's own BPF test run, live frames.

A measurement of forwarding drowns in the cost of `send()`. `BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES`
(Linux 5.18) takes one frame and puts it, N times, into the receive path of an interface, in batches, on the calling
thread; the thread's CPU time is then the cost of forwarding alone. The program is fourteen instructions, so there is
nothing to compile.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import time

_BPF_PROG_LOAD, _BPF_PROG_TEST_RUN = 5, 10
_BPF_PROG_TYPE_XDP = 6
_LIVE_FRAMES = 1 << 1
_BATCH = 64
_SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]

_XDP_PASS = 2
_RESTORED = 26  # Ethernet header, and of the IPv4 header all up to TTL, protocol and checksum


def _instruction(code: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | destination, offset, immediate)


def _program(frame: bytes) -> bytes:
    """Writes the frame's first bytes again and returns XDP_PASS.

    The kernel recycles the pages of frames that it passed up; by then forwarding has changed MACs and TTL, and the
    second round would not be for us any more.
    """
    load_word, add, move, jump_greater, store_word, store_half = 0x61, 0x07, 0xBF, 0x2D, 0x62, 0x6A
    code = [
        _instruction(load_word, 2, 1, 0),  # r2 = data
        _instruction(load_word, 3, 1, 4),  # r3 = data_end
        _instruction(move, 4, 2),
        _instruction(add, 4, immediate=_RESTORED),
        _instruction(jump_greater, 4, 3, offset=_RESTORED // 4 + 1),  # too short: leave it alone
    ]
    for at in range(0, _RESTORED - 2, 4):
        code.append(_instruction(store_word, 2, offset=at, immediate=struct.unpack_from("<i", frame, at)[0]))
    at = _RESTORED - 2
    code.append(_instruction(store_half, 2, offset=at, immediate=struct.unpack_from("<H", frame, at)[0]))
    return b"".join([*code, _instruction(0xB7, immediate=_XDP_PASS), _instruction(0x95)])


_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = int(_libc.syscall(_SYSCALL, command, buffer, len(attributes)))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf({command}): {os.strerror(error)}")
    return result


def load_program(frame: bytes) -> int:
    """File descriptor of the XDP program that passes this frame up the stack."""
    program = _program(frame)
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = struct.pack(
        "<IIQQ", _BPF_PROG_TYPE_XDP, len(program) // 8, ctypes.addressof(code), ctypes.addressof(licence)
    )
    return _bpf(_BPF_PROG_LOAD, attributes.ljust(128, b"\0"))


def unload(program: int) -> None:
    os.close(program)


def inject(program: int, frame: bytes, interface_index: int, count: int) -> float:
    """Receives `frame` `count` times on the interface; nanoseconds of this thread's CPU per packet."""
    data = ctypes.create_string_buffer(frame, len(frame))
    # struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex
    context = ctypes.create_string_buffer(struct.pack("<IIIIII", 0, len(frame), 0, interface_index, 0, 0), 24)
    attributes = struct.pack(
        "<IIIIQQIIIIQQIII",
        program, 0, len(frame), 0, ctypes.addressof(data), 0, count, 0,
        24, 0, ctypes.addressof(context), 0, _LIVE_FRAMES, 0, _BATCH,
    )
    before = time.thread_time_ns()
    _bpf(_BPF_PROG_TEST_RUN, attributes.ljust(128, b"\0"))
    return (time.thread_time_ns() - before) / count


def udp_frame(source_mac: str, destination_mac: str, source: str, destination: str, ports: tuple[int, int]) -> bytes:
    """A 60-byte Ethernet frame with an IPv4 UDP datagram; UDP checksum 0 (none)."""
    def mac(text: str) -> bytes:
        return bytes.fromhex(text.replace(":", ""))

    def ip(text: str) -> bytes:
        return bytes(int(part) for part in text.split("."))

    payload = bytes(18)
    udp = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, ip(source), ip(destination))
    total = sum(struct.unpack(">10H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    header = header[:10] + struct.pack(">H", ~total & 0xFFFF) + header[12:]
    return mac(destination_mac) + mac(source_mac) + b"\x08\x00" + header + udp
