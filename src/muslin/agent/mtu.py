"""How large a packet a workload may send: as the settings say, or what every uplink of the host can carry.

A link that is larger than its uplink works as long as nobody filters the ICMP errors, and everything small works even
then. So links get the number when they are made, and when it changes, those that have the old one get the new one: both
ends of a veth, the host's end of a tap. A link with a third number was made so by somebody, and stays.

The number is kept on disk, so that a restarted agent knows which one was the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from muslin.drivers import plug, uplink
from muslin.drivers.links import Link
from muslin.drivers.netlink import Netlink
from muslin.errors import Transient
from muslin.intent import Settings

_TOLD = 3


class Mtu:
    """`number` is what links get. `file`: where it is kept; None: nowhere."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._kept = _read(file)
        self.number = self._kept
        self.fault = ""
        """Why a link could not be made to follow, "" when all did."""

    def look(self, netlink: Netlink, there: Mapping[str, Link], settings: Settings, workloads: Set[str]) -> bool:
        """Is it another number now?"""
        prefixes = tuple(filter(None, settings.interface_prefix.split(",")))
        uplinks = uplink.uplinks(netlink, there, settings.mtu_interfaces, prefixes, workloads)
        before, self.number = self.number, settings.mtu or uplink.smallest_mtu(uplinks)
        return self.number != before

    def follow(self, netlink: Netlink, there: Iterable[Link]) -> None:
        """Links that have the old number get the new one. What fails is tried again in the next call."""
        if self.number == self._kept:
            return
        if not self._kept:
            there = ()
        failed = plug.resize(netlink, [link for link in there if link.mtu == self._kept], self.number)
        self.fault = "; ".join(f"interface {name}: MTU {self._kept} cannot become {self.number}: {why}"
                               for name, why in sorted(failed.items())[:_TOLD])
        if not failed:
            _write(self._file, self.number)
            self._kept = self.number


def _read(file: Path | None) -> int:
    try:
        return int(file.read_text()) if file is not None else 0
    except (OSError, ValueError):
        return 0


def _write(file: Path | None, number: int) -> None:
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{number}\n")
    except OSError as error:
        raise Transient(f"{file}: the MTU cannot be kept: {error}") from None
