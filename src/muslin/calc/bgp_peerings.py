"""A BGPPeer says which hosts talk to which peers; this module reads what it says, once for the whole cluster.

Both ends may be named in two ways. The near end: one `node`, a `nodeSelector`, or nothing, which means every node.
The far end: a `peerIP`, which may or may not be one of our own nodes, or a `peerSelector`, which always is. When the
far end is a node of ours it needs the session too, and nobody writes a BGPPeer twice: unless `reversePeering` is
Manual, the far end talks back (`Peering.reversed`).

Rule: a BGPPeer that cannot be honoured in full (its password, a filter it names, a selector, an AS number) sets up
nothing. A session without its password or its filter is an open door, a session that is missing is a red line.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from muslin.calc.bgp_nodes import BgpNode, Faults, note, parse_as, parse_duration
from muslin.errors import Invalid
from muslin.model.meta import ResourceKey
from muslin.model.network import BGPPassword, BGPPeer, BGPPeerSpec
from muslin.model.selector import Selector, parse
from muslin.net import parse_address, version_of

Secrets = Mapping[tuple[str, str], str]
"""(secret, key) -> password."""

LONGEST_RESTART = 4095
"""Seconds: the restart time has 12 bits on the wire (RFC 4724 §3)."""
LONGEST_KEEPALIVE = 65535
LONGEST_PASSWORD = 80
"""Bytes: Linux's TCP_MD5SIG_MAXKEYLEN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a BGPPeer asks of its sessions, as `intent.BgpSession` has it."""

    local_as: int | None = None
    next_hop_mode: str = "Auto"
    keep_original_next_hop: bool = False
    password: str = ""
    from_node_address: bool = True
    max_restart_time: int | None = None
    keepalive_time: int | None = None
    allowed_local_as: int = 0
    ttl_security: int | None = None
    filters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peering:
    """One BGPPeer. Near end: `node`, `near`, or neither. Far end: `far`, or `address` and the rest."""

    name: str
    options: Options
    node: str = ""
    near: Selector | None = None
    far: Selector | None = None
    address: str = ""
    port: int = 0
    peer_as: int | None = None
    reachable_by: str = ""
    reversed: bool = True

    @property
    def everywhere(self) -> bool:
        return not self.node and self.near is None

    def is_near(self, node: BgpNode) -> bool:
        if self.near is not None:
            return self.near.matches(node.labels)
        return self.everywhere or self.node == node.name


def bgp_peerings(
    peers: Mapping[str, BGPPeer], filters: Collection[str], secrets: Secrets, faults: Faults
) -> tuple[Peering, ...]:
    """Every BGPPeer that can be honoured, in the order of names. `filters`: the names of those without fault."""
    peerings = []
    for name in sorted(peers):
        try:
            peerings.append(_peering(name, peers[name].spec, filters, secrets))
        except Invalid as fault:
            note(faults, ResourceKey("BGPPeer", "", name), f"{fault}; no session until then")
    return tuple(peerings)


def _peering(name: str, spec: BGPPeerSpec, filters: Collection[str], secrets: Secrets) -> Peering:
    _check_ends(spec)
    address, port = ("", 0) if not spec.peer_ip else parse_peer(spec.peer_ip)
    return Peering(
        name=name,
        options=_options(spec, filters, secrets),
        node=spec.node,
        near=_selector("nodeSelector", spec.node_selector),
        far=_selector("peerSelector", spec.peer_selector),
        address=address,
        port=port,
        peer_as=None if spec.as_number in (None, 0) else _as("asNumber", spec.as_number),
        reachable_by=_gateway(spec.reachable_by, address),
        reversed=spec.reverse_peering != "Manual",
    )


def _check_ends(spec: BGPPeerSpec) -> None:
    if spec.local_workload_selector:
        raise Invalid("spec.localWorkloadSelector: BGP with workloads is not there yet")
    if spec.node and spec.node_selector:
        raise Invalid("spec.node and spec.nodeSelector exclude each other: write one")
    if bool(spec.peer_ip) == bool(spec.peer_selector):
        raise Invalid("exactly one of spec.peerIP and spec.peerSelector says who the peer is")
    if spec.peer_selector and spec.as_number not in (None, 0):
        raise Invalid("spec.asNumber goes with spec.peerIP: nodes found by peerSelector bring their own")


def _options(spec: BGPPeerSpec, filters: Collection[str], secrets: Secrets) -> Options:
    for name in spec.filters:
        if name not in filters:
            raise Invalid(f"spec.filters: there is no usable BGPFilter {name!r}")
    if spec.next_hop_mode not in (None, "", "Auto", "Self", "Keep"):
        raise Invalid(f"spec.nextHopMode {spec.next_hop_mode!r} is none of Auto, Self, Keep")
    if spec.source_address not in ("", "UseNodeIP", "None"):
        raise Invalid(f"spec.sourceAddress {spec.source_address!r} is neither UseNodeIP nor None")
    if spec.ttl_security is not None and not 0 <= spec.ttl_security <= 255:
        raise Invalid(f"spec.ttlSecurity {spec.ttl_security} is outside 0..255 hops")
    return Options(
        local_as=None if spec.local_as_number in (None, 0) else _as("localASNumber", spec.local_as_number),
        next_hop_mode=spec.next_hop_mode or "Auto",
        keep_original_next_hop=spec.keep_original_next_hop and not spec.next_hop_mode,
        password=password(spec.password, secrets),
        from_node_address=spec.source_address != "None",
        max_restart_time=_time("maxRestartTime", spec.max_restart_time, 0, LONGEST_RESTART),
        keepalive_time=_time("keepaliveTime", spec.keepalive_time, 1, LONGEST_KEEPALIVE),
        allowed_local_as=spec.num_allowed_local_as_numbers or 0,
        ttl_security=spec.ttl_security or None,
        filters=spec.filters,
    )


def parse_peer(text: str) -> tuple[str, int]:
    """("10.0.0.1", 1790) of "10.0.0.1:1790"; port 0 when none is given. IPv6 with a port wears brackets."""
    port: str | None
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if rest else None
        sound = bracket == "]" and (not rest or rest.startswith(":"))
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
        sound = True
    else:
        address, port, sound = text, None, True
    if not sound or not (port is None or _is_port(port)):
        raise Invalid(f"spec.peerIP {text!r}: write the port as 1..65535, as in 10.0.0.1:1790 or [fd00::1]:1790")
    try:
        return parse_address(address), int(port or 0)
    except ValueError as error:
        raise Invalid(f"spec.peerIP {text!r}: {error}") from None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text) <= 65535


def password(wanted: BGPPassword | None, secrets: Secrets) -> str:
    """The password that a resource asks for, "" when it asks for none. Raises Invalid when it cannot be had."""
    if wanted is None or wanted.secret_key_ref is None:
        return ""
    reference = wanted.secret_key_ref
    found = secrets.get((reference.name, reference.key))
    if not found:
        raise Invalid(f"the password in secret {reference.name!r}, key {reference.key!r}, cannot be had")
    if len(found.encode()) > LONGEST_PASSWORD or not found.isprintable() or '"' in found:
        raise Invalid(f"the password in secret {reference.name!r} is longer than {LONGEST_PASSWORD} bytes, or has "
                      "a quotation mark or a control character in it")
    return found


def _selector(where: str, text: str) -> Selector | None:
    if not text:
        return None
    try:
        return parse(text)
    except Invalid as fault:
        raise Invalid(f"spec.{where}: {str(fault).splitlines()[0]}") from None


def _as(where: str, value: int | str | None) -> int:
    assert value is not None
    try:
        return parse_as(value)
    except Invalid as fault:
        raise Invalid(f"spec.{where}: {fault}") from None


def _time(where: str, text: str | None, least: int, most: int) -> int | None:
    if not text:
        return None
    try:
        seconds = parse_duration(text)
    except Invalid as fault:
        raise Invalid(f"spec.{where}: {fault}") from None
    if not least <= seconds <= most:
        raise Invalid(f"spec.{where}: {text} is outside {least}s..{most}s")
    return seconds


def _gateway(text: str, peer: str) -> str:
    if not text:
        return ""
    try:
        gateway = parse_address(text)
    except ValueError as error:
        raise Invalid(f"spec.reachableBy: {error}") from None
    if not peer or version_of(gateway) != version_of(peer):
        raise Invalid(f"spec.reachableBy {text!r} is a gateway towards spec.peerIP, in its address family")
    return gateway
