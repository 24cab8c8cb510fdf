"""Network namespaces, by name or path, and a short stay inside one.

A netlink socket, and a path below /proc/sys/net, belong to the namespace of the thread that opens them. So a driver
steps into a namespace, opens what it needs, and steps out again before anybody else runs: no await, no thread switch
to another of our threads' work in between. The step is per thread; other threads do not notice it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from muslin.errors import Broken, Invalid

NAMED = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
OWN = "/proc/thread-self/ns/net"
"""The namespace of the thread that opens it."""
_OWN = Path(OWN)

_libc = ctypes.CDLL(None, use_errno=True)


class NoSuchNamespace(Invalid):
    """There is no network namespace of that name or at that path."""


def path_of(name_or_path: str) -> Path:
    """`blue` is /run/netns/blue, a text with a slash is a path. Nothing is looked up."""
    return Path(name_or_path) if "/" in name_or_path else NAMED / name_or_path


@contextmanager
def opened(name_or_path: str) -> Iterator[int]:
    """A descriptor of the namespace. Raises NoSuchNamespace, also for a file that is none; it does not wait for the
    other end of a pipe."""
    path = path_of(name_or_path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise NoSuchNamespace(
            f"network namespace {name_or_path}: {path}: {os.strerror(error.errno or 0)}; `ip netns list` shows the"
            " named ones, a process's is /proc/PID/ns/net"
        ) from None
    try:
        if not _is_namespace(descriptor):
            raise NoSuchNamespace(f"network namespace {name_or_path}: {path} is not a network namespace")
        yield descriptor
    finally:
        os.close(descriptor)


def _is_namespace(descriptor: int) -> bool:
    """Namespaces live on nsfs, whose files say of which sort they are; other files may take the question amiss."""
    if os.fstat(descriptor).st_dev != _nsfs():
        return False
    return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET


def _can_be_entered(descriptor: int) -> bool:
    try:
        with inside(descriptor):
            return True
    except OSError:
        return False


@cache
def _nsfs() -> int:
    return Path(OWN).stat().st_dev


def is_own(descriptor: int) -> bool:
    """Is it the namespace that this thread is in?"""
    theirs, ours = os.fstat(descriptor), _OWN.stat()
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


@contextmanager
def inside(descriptor: int) -> Iterator[None]:
    """This thread stands inside that namespace. Raises OSError when it is none."""
    home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _enter(descriptor)
        try:
            yield
        finally:
            try:
                _enter(home)
            except OSError as error:
                raise Broken(f"cannot return to our own network namespace: {error}") from None
    finally:
        os.close(home)


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def all_namespaces() -> Iterator[int]:
    """A descriptor of each that has a name or a process, open while it is looked at."""
    seen: set[int] = set()
    for path in (*NAMED.glob("*"), *Path("/proc").glob("[0-9]*/ns/net")):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # its process has ended
        try:
            inode = os.fstat(descriptor).st_ino
            if inode not in seen and _can_be_entered(descriptor):
                seen.add(inode)
                yield descriptor
        finally:
            os.close(descriptor)
