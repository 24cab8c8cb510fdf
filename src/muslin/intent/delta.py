"""One change, and the whole, of what a host must do.

A Delta is key -> value | None (None = gone), for the stream from server to agent, and again from calc.host to
renderers and drivers. Two deltas add up: later keys win. Consumers apply it in the order

    sets < policies < groups < endpoints < routes, neighbours, bgp        (removals in reverse)

so that nothing is referred to before it is there. `snapshot` True: the delta is the whole state; every key that
it does not carry is gone.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec import UNSET, UnsetType

from muslin.intent.bgp import BgpSpeaker
from muslin.intent.endpoint import Endpoint, HostInterface
from muslin.intent.keys import EndpointKey, GroupId, PolicyId, SetId
from muslin.intent.policy import AddressSet, Group, Policy, PortMember, PortSet
from muslin.intent.routing import Neighbour, Route
from muslin.net import Cidr


class Backend(StrEnum):
    """Which kernel interface enforces policy."""

    NFTABLES = "nftables"
    IPTABLES_LEGACY = "iptables-legacy"
    IPTABLES_NFT = "iptables-nft"


class MemberChange(msgspec.Struct, frozen=True, kw_only=True, tag="change", omit_defaults=True):
    """Members that joined or left a set which is already there. The two never overlap. Members as in the set:
    `added`/`removed` for an AddressSet, `ports_added`/`ports_removed` for a PortSet."""

    added: frozenset[Cidr] = frozenset()
    removed: frozenset[Cidr] = frozenset()
    ports_added: frozenset[PortMember] = frozenset()
    ports_removed: frozenset[PortMember] = frozenset()


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Host-wide settings, merged from FelixConfiguration default and node.NAME."""

    interface_prefix: str = "mus"
    endpoint_to_host_action: str = "Drop"
    """Drop, Accept or Return."""
    drop_invalid: bool = True
    """Drop what conntrack calls INVALID."""
    failsafe_inbound: tuple[tuple[int, int, str], ...] = ()
    """(protocol number, port, prefix or "")."""
    failsafe_outbound: tuple[tuple[int, int, str], ...] = ()
    masquerade: tuple[Cidr, ...] = ()
    """Pools with natOutgoing: their sources are masqueraded towards destinations outside every pool."""
    pools: tuple[Cidr, ...] = ()
    ipv6: bool = True
    mtu: int = 0
    """Of workloads' links. 0: the smallest MTU of the host's uplinks."""
    mtu_interfaces: str = ""
    """Regular expression of the interfaces that count as uplinks; "": those with a global address that are no
    workload's."""
    backend: Backend = Backend.NFTABLES
    mark_mask: int = 0xFFFF0000
    """Bits of the packet mark that are ours."""
    follow_established: bool = True
    """Flows that a policy denies now are ended within a second, though it allowed them once."""
    log_rate: tuple[int, str] | None = None
    """Lines that one Log rule writes at most: (number, "second" | "minute" | "hour" | "day"). None: no limit."""
    log_burst: int = 5
    log_prefix: str = ""
    """FelixConfiguration's logPrefix, with its %t, %k, %p and %n. `calc.host` has put it into the rules already."""
    floating_addresses: bool = False
    """Whether `Endpoint.nat` is in force."""
    masquerade_exclude: tuple[Cidr, ...] = ()
    """Further destinations that are not masqueraded, beside `pools`: addresses of hosts."""
    masquerade_address: str = ""
    """IPv4 address that masqueraded packets get; "": that of the interface they leave by."""
    masquerade_ports: tuple[int, int] | None = None
    masquerade_interfaces: str = ""
    """Only packets that leave by this interface (`eth+`: those that begin with eth) are masqueraded; "": by any."""
    filter_allow: str = "Accept"
    """Accept: other chains of iptables do not see an allowed packet. Return: they have their say."""
    filter_deny: str = "Drop"
    """Drop or Reject: what a denied packet meets."""
    chain_insert: str = "Insert"
    """Insert: the chains of iptables lead to ours first. Append: last, behind whatever else is there."""


class Delta(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Mutable while it is gathered, not touched after it is handed over."""

    revision: int = 0
    """Store revision up to which this is true."""
    snapshot: bool = False
    sets: dict[SetId, AddressSet | PortSet | MemberChange | None] = {}
    policies: dict[PolicyId, Policy | None] = {}
    groups: dict[GroupId, Group | None] = {}
    endpoints: dict[EndpointKey, Endpoint | None] = {}
    host_interfaces: dict[EndpointKey, HostInterface | None] = {}
    routes: dict[Cidr, Route | None] = {}
    neighbours: dict[str, Neighbour | None] = {}
    """Key: `address%interface`."""
    bgp: BgpSpeaker | UnsetType | None = UNSET
    settings: Settings | UnsetType = UNSET

    def __bool__(self) -> bool:
        """Does it change anything?"""
        return bool(
            self.snapshot or self.sets or self.policies or self.groups or self.endpoints or self.host_interfaces
            or self.routes or self.neighbours or self.bgp is not UNSET or self.settings is not UNSET
        )

    @property
    def tells_of_host(self) -> bool:
        """Of the host itself, not of its workloads?"""
        return self.bgp is not UNSET or self.settings is not UNSET

    @property
    def only_departs(self) -> bool:
        """Do endpoints go with what they had, and nothing else happens? Members of sets may be others' too: whose they
        were is not told."""
        if not self.endpoints or self.snapshot or self.host_interfaces or self.tells_of_host:
            return False
        here = (self.endpoints, self.policies, self.groups, self.routes, self.neighbours)
        comes = any(value is not None for each in here for value in each.values())
        return not comes and all(one is None or _only_leaves(one) for one in self.sets.values())


def _only_leaves(change: AddressSet | PortSet | MemberChange) -> bool:
    return isinstance(change, MemberChange) and not (change.added or change.ports_added)


class HostIntent(msgspec.Struct, kw_only=True):
    """The whole of what one host must do, as of `revision`. Treat as read-only."""

    revision: int = 0
    sets: dict[SetId, AddressSet | PortSet] = {}
    policies: dict[PolicyId, Policy] = {}
    groups: dict[GroupId, Group] = {}
    endpoints: dict[EndpointKey, Endpoint] = {}
    host_interfaces: dict[EndpointKey, HostInterface] = {}
    routes: dict[Cidr, Route] = {}
    neighbours: dict[str, Neighbour] = {}
    bgp: BgpSpeaker | None = None
    settings: Settings = Settings()


BLANK = HostIntent()
"""A host that must do nothing."""
