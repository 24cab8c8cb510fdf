"""Network namespaces for tests: named after this process, gone when the test ends, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def namespace(word: str = "n") -> Iterator[str]:
    """A fresh namespace with `lo` up."""
    name = f"mut-{word}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        run("ip", "netns", "del", name)


def run(*words: str, check: bool = True, stdin: str | None = None) -> str:
    done = subprocess.run(words, capture_output=True, text=True, input=stdin, check=False)
    assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stderr or done.stdout}"
    return done.stdout


def in_ns(name: str, *words: str, check: bool = True) -> str:
    return run("ip", "netns", "exec", name, *words, check=check)


def ip_json(name: str, *words: str) -> Any:
    """What `ip -j` says inside the namespace: the other opinion."""
    return json.loads(run("ip", "-n", name, "-j", *words) or "[]")


def wait_for(what: str, condition: Callable[[], T], seconds: float = 10.0) -> T:
    """The condition's first true value. Fails with `what` after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


def backlog_drops() -> int:
    """Packets that this machine had no room for, whatever any rule says: the second column of each processor's line."""
    return sum(int(line.split()[1], 16) for line in Path("/proc/net/softnet_stat").read_text().splitlines())
