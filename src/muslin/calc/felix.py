"""What the words of a FelixConfiguration mean, one field at a time.

Operators bring files that were written for Calico, by hand, past every check. One field that cannot be read must not
take the others with it, nor count as something that nobody wrote. So each field that is used has one reader here,
which says what the value means or what is wrong with it; a value that cannot be read counts as not given, and `faults`
tells it once for all hosts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from muslin.errors import Invalid
from muslin.model.felix import FelixConfigurationSpec, ProtoPort
from muslin.net import host_cidr, parse_address, parse_cidr, protocol_number, version_of

_UNITS = ("second", "minute", "hour", "day")
_INTERFACE = re.compile(r"[A-Za-z0-9_.:@-]{1,14}\+?|[A-Za-z0-9_.:@-]{1,15}")
_HIGHEST_BURST = 9999

Reader = Callable[..., object]


def choice(*words: str) -> Callable[[object], str]:
    """One of these words, in any case."""
    known = {word.lower(): word for word in words}

    def read(given: object) -> str:
        if str(given).lower() not in known:
            raise Invalid(f"{given!r} is none of {', '.join(words)}")
        return known[str(given).lower()]

    return read


def mark_mask(given: object) -> int:
    if not isinstance(given, int) or not 0 < given <= 0xFFFFFFFF:
        raise Invalid(f"{given!r} has no bits of a 32-bit mark; write 0xffff0000")
    return given


def log_rate(given: object) -> tuple[int, str]:
    number, _, unit = str(given).partition("/")
    if not (number.isascii() and number.isdigit() and int(number)) or unit not in _UNITS:
        raise Invalid(f"{given!r} is no rate; write a number, a slash and one of {', '.join(_UNITS)}, as 10/second")
    return int(number), unit


def log_burst(given: object) -> int:
    if not isinstance(given, int) or not 0 <= given <= _HIGHEST_BURST:
        raise Invalid(f"{given!r} is not within 0..{_HIGHEST_BURST}")
    return given


def address_v4(given: object) -> str:
    address = parse_address(str(given))
    if version_of(host_cidr(address)) != 4:
        raise Invalid(f"{given!r} is no IPv4 address")
    return address


def port_range(given: object) -> tuple[int, int]:
    first, colon, last = str(given).partition(":")
    words = (first, last) if colon else (first, first)
    if not all(word.isascii() and word.isdigit() for word in words):
        raise Invalid(f"{given!r} is no range of ports; write first:last")
    low, high = map(int, words)
    if not 0 < low <= high <= 65535:
        raise Invalid(f"{given!r} is not within 1..65535, the smaller first")
    return low, high


def interface_filter(given: object) -> str:
    if not _INTERFACE.fullmatch(str(given)):
        raise Invalid(f"{given!r} is no interface; write eth0, or eth+ for all that begin with eth")
    return str(given)


def pattern(given: object) -> str:
    try:
        re.compile(str(given))
    except re.error as error:
        raise Invalid(f"{given!r} is no regular expression: {error}") from None
    return str(given)


def port(given: ProtoPort) -> tuple[int, int, str]:
    """(protocol, port, prefix or "")"""
    if not 0 < given.port <= 65535:
        raise Invalid(f"port {given.port} is not within 1..65535")
    return protocol_number(given.protocol or "TCP"), given.port, parse_cidr(given.net) if given.net else ""


READERS: Mapping[str, Reader] = {
    "chain_insert_mode": choice("Insert", "Append"),
    "default_endpoint_to_host_action": choice("Drop", "Accept", "Return"),
    "floating_ips": choice("Enabled", "Disabled"),
    "iptables_backend": choice("Legacy", "NFT", "Auto"),
    "iptables_filter_allow_action": choice("Accept", "Return"),
    "iptables_filter_deny_action": choice("Drop", "Reject"),
    "iptables_mark_mask": mark_mask,
    "iptables_nat_outgoing_interface_filter": interface_filter,
    "log_action_rate_limit": log_rate,
    "log_action_rate_limit_burst": log_burst,
    "mtu_iface_pattern": pattern,
    "nat_outgoing_address": address_v4,
    "nat_outgoing_exclusions": choice("IPPoolsOnly", "IPPoolsAndHostIPs"),
    "nat_port_range": port_range,
    "nftables_filter_allow_action": choice("Accept", "Return"),
    "nftables_filter_deny_action": choice("Drop", "Reject"),
    "nftables_mark_mask": mark_mask,
    "nftables_mode": choice("Disabled", "Enabled", "Auto"),
}
"""By the field's name in the struct; "" and None are not given."""

_LISTS = ("failsafe_inbound_host_ports", "failsafe_outbound_host_ports")
_NAMES = dict(zip(FelixConfigurationSpec.__struct_fields__, FelixConfigurationSpec.__struct_encode_fields__,
                  strict=True))


def given(spec: FelixConfigurationSpec, field: str) -> object | None:
    """What it says, readable or not."""
    found: object = getattr(spec, field)
    return None if found == "" else found


def read(specs: Iterable[FelixConfigurationSpec], field: str) -> object | None:
    """The strongest value that can be read."""
    for spec in specs:
        value = given(spec, field)
        if value is not None:
            try:
                return READERS[field](value)
            except ValueError:
                continue  # told by `faults`, once for all hosts
    return None


def faults(spec: FelixConfigurationSpec) -> list[str]:
    """What of it cannot be used."""
    found = []
    for field, reader in READERS.items():
        value = given(spec, field)
        if value is not None:
            try:
                reader(value)
            except ValueError as error:
                taken = "; taken as Drop" if field == "default_endpoint_to_host_action" else "; counts as not given"
                found.append(f"spec.{_NAMES[field]}: {error}{taken}")
    for field in _LISTS:
        for entry in getattr(spec, field) or ():
            try:
                port(entry)
            except ValueError as error:
                found.append(f"spec.{_NAMES[field]}: {error}; left out")
    return found
