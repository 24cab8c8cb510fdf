"""Whether any flow is a given address's, by the text that the kernel writes of all of them: /proc/net/nf_conntrack.

A listing by netlink locks each bucket of the table that all namespaces share, in turn: 11 ms of processor for 262,144
buckets, however few flows there are. Whoever reads the text is led past empty buckets without a lock: 1 ms, and 2 us
for each flow. Nearly always the answer is that there is none, for an address that has just come or has gone.

The text comes page by page, and between two pages flows end. Linux since 6.18 goes on in the bucket where it was: then
a flow could only be missed by one of the same bucket ending in the microseconds between. Before that it counts flows
from the beginning, or stumbles over one that it clears away itself (its commit "do not skip entries in
/proc/net/nf_conntrack"). There only a text counts that is surely one page.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

_FILE = "/proc/thread-self/net/nf_conntrack"
_WORTH_READING = 4000
"""Flows: more cost the same as a listing."""
_SURELY_ONE_PAGE = 3000
"""Bytes: the kernel begins another page where the next flow does not fit into 4096."""
_LONGEST = 500
"""Bytes of a flow, generously."""
_GOES_ON_IN_ITS_BUCKET = (6, 18)
_READ_AT_ONCE = 1 << 16
_ADDRESS = re.compile(rb" (?:src|dst)=([0-9a-f.:]+)")


def mentioned(number: int, of: Iterable[bytes]) -> frozenset[bytes] | None:
    """Which of these addresses are any flow's of this thread's namespace, at whatever end; at least those. None: only
    a listing tells. `number`: how many flows there are."""
    text = _read(number)
    if text is None:
        return None
    return frozenset(address for address in of if b"=%s " % _written(address) in text)


def all_mentioned(number: int) -> frozenset[bytes] | None:
    """As `mentioned`: all addresses that any flow has."""
    text = _read(number)
    return None if text is None else frozenset(map(_packed, {*_ADDRESS.findall(text)}))


def _read(number: int) -> bytes | None:
    if number > (_WORTH_READING if _goes_on_in_its_bucket() else _SURELY_ONE_PAGE // _LONGEST):
        return None
    try:
        file = os.open(_FILE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            pages = [*iter(lambda: os.read(file, _READ_AT_ONCE), b"")]
        finally:
            os.close(file)
    except OSError:  # a kernel may come without it (CONFIG_NF_CONNTRACK_PROCFS)
        return None
    whole = _goes_on_in_its_bucket() or sum(map(len, pages)) <= _SURELY_ONE_PAGE
    return b"".join(pages) if whole else None


@cache
def _goes_on_in_its_bucket() -> bool:
    major, minor = re.findall(r"\d+", os.uname().release)[:2]
    return (int(major), int(minor)) >= _GOES_ON_IN_ITS_BUCKET


def _written(address: bytes) -> bytes:
    """As the kernel does: of IPv6 every digit."""
    if len(address) == 4:
        return inet_ntop(AF_INET, address).encode()
    return address.hex(":", 2).encode()


def _packed(written: bytes) -> bytes:
    return inet_pton(AF_INET6 if b":" in written else AF_INET, written.decode())
