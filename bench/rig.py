"""Three namespaces: a host that routes, and workloads A and B on it. Made for one measurement, removed after it."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
HOST_MAC = "ee:ee:ee:ee:ee:ee"
MACS = {"a": "02:00:00:00:00:0a", "b": "02:00:00:00:00:0b"}
ADDRESSES = {"a": "10.65.0.10", "b": "10.65.0.11"}
INTERFACES = {"a": "musbencha", "b": "musbenchb"}


@dataclass(frozen=True, slots=True)
class Rig:
    """Names of the three namespaces."""

    host: str
    a: str
    b: str


def run(*words: str, text: str | None = None) -> str:
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()[:400]}")
    return done.stdout


def enter(namespace: str) -> None:
    """Moves this thread into a network namespace."""
    handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if _libc.setns(handle, 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    finally:
        os.close(handle)


def load(namespace: str, ruleset: str) -> None:
    """Replaces the whole ruleset of a namespace that belongs to this measurement."""
    run("ip", "netns", "exec", namespace, "nft", "-f", "-", text="flush ruleset\n" + ruleset)


def _commands(rig: Rig) -> Iterator[str]:
    for side, space in (("a", rig.a), ("b", rig.b)):
        device, address = INTERFACES[side], ADDRESSES[side]
        yield f"-n {rig.host} link add {device} address {HOST_MAC} type veth peer name eth0 netns {space}"
        yield f"-n {rig.host} link set {device} up"
        yield f"-n {space} link set eth0 address {MACS[side]} up"
        yield f"-n {space} addr add {address}/32 dev eth0"
        yield f"-n {space} route add 169.254.1.1 dev eth0"
        yield f"-n {space} route add default via 169.254.1.1"
        yield f"-n {space} neigh add 169.254.1.1 lladdr {HOST_MAC} dev eth0 nud permanent"
        yield f"-n {rig.host} route add {address} dev {device}"
        yield f"-n {rig.host} neigh add {address} lladdr {MACS[side]} dev {device} nud permanent"


@contextmanager
def rig(word: str = "") -> Iterator[Rig]:
    """The namespaces, forwarding, and nothing that filters. `word` tells several at a time apart."""
    made = Rig(*(f"mub-{os.getpid()}{word}-{part}" for part in ("h", "a", "b")))
    spaces = (made.host, made.a, made.b)
    try:
        for space in spaces:
            run("ip", "netns", "add", space)
            run("ip", "-n", space, "link", "set", "lo", "up")
        for command in _commands(made):
            run("ip", *command.split())
        run("ip", "netns", "exec", made.host, "sysctl", "-qw", "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
        yield made
    finally:
        for space in spaces:
            if Path(f"/run/netns/{space}").exists():
                run("ip", "netns", "del", space)
