"""What the figures were measured on: processor, kernel, versions, load, and the pace at the moment.

The pace is processor time of a fixed piece of work, half in Python and half in the kernel. It tells a slow hour of a
shared machine (clock, caches, neighbours on the same core) from a program that got slower.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path

from bench.figures import Facts

_ROOT = Path(__file__).parent.parent
_TOOLS = {"nft": ("nft", "--version"), "iptables": ("iptables", "--version"), "ipset": ("ipset", "--version"),
          "ip": ("ip", "-Version"), "BIRD": ("bird", "--version")}
_VERSION = re.compile(r"\d+\.\d+[.\d]*\d|\d+\.\d+")


def begin(size: str) -> Facts:
    """Takes a fifth of a second."""
    pace, load = _pace(), os.getloadavg()[0]
    return Facts(
        date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), commit=_git("rev-parse", "HEAD"),
        changed=bool(_git("status", "--porcelain", "--untracked-files=no", "--", "src", "bench")),
        cpu=_cpu(), cores=os.cpu_count() or 0, kernel=platform.release(),
        tools={name: _version(*words) for name, words in _TOOLS.items()} | {"Python": platform.python_version()},
        load=(load, load), pace=(pace, pace), size=size)


def end(facts: Facts, seconds: float) -> Facts:
    return Facts(
        date=facts.date, commit=facts.commit, changed=facts.changed, cpu=facts.cpu, cores=facts.cores,
        kernel=facts.kernel, tools=facts.tools, load=(facts.load[0], os.getloadavg()[0]),
        pace=(facts.pace[0], _pace()), seconds=seconds, size=facts.size)


def _pace() -> float:
    """Milliseconds of processor, the best of five."""
    return min(_once() for _ in range(5))


def _once() -> float:
    before = time.thread_time_ns()
    words = {number: str(number) for number in range(60_000)}
    read, write = os.pipe()
    for number in range(10_000):
        os.write(write, words[number].encode())
        os.read(read, 64)
    os.close(read)
    os.close(write)
    return (time.thread_time_ns() - before) / 1e6


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(_ROOT), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _version(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "absent"
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "?"
