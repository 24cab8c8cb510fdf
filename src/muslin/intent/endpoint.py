"""The interfaces at which a host enforces policy, and the law of a packet's way through them.

An `Endpoint` is a local workload's interface. A `HostInterface` is an interface of the host itself that a HostEndpoint
covers. A packet meets them in this order; every reader (nftables, iptables, `explain`) must say the same:

    arrives by i
      1 untracked    i is covered, its `untracked_ingress` is set: failsafe inbound passes (on to 2, tracked); else
                     the group. Allow: never tracked, and accepted for i: 2, 3 and `forward_ingress` are not asked
      2 pre-DNAT     i is covered, its `pre_dnat` is set: established and failsafe inbound pass; else the group, with
                     the addresses before any translation. Allow: accepted for i: 3 and `forward_ingress` are not asked
    to the host itself
      3 input        from a workload: the workload's egress group, then `Settings.endpoint_to_host_action`.
                     i is covered: established passes, invalid is dropped, failsafe inbound passes; else `ingress`
    from the host itself, leaves by o
      4 output       to a workload: passes. o is covered: `untracked_egress` as in 1 (Allow: `egress` is not asked),
                     then established, invalid, failsafe outbound, else `egress`
    through the host, from i to o
      5 forward      established passes. Then all that apply must allow, in this order: `forward_ingress` of i, the
                     sender's egress group, the receiver's ingress group, `forward_egress` of o. No failsafes here

`*` covers every interface that no other covers, apart from the loopback. For 1, 2 and 5 that includes workloads'
interfaces: what a workload sends or gets meets the forward policy of `*` as well as its own (so it is with Calico).
For 3 and 4 it does not: a workload's packets to its host and the host's to it are dealt with before.
An interface that nothing covers, and that is no workload's, is none of our business: every packet passes there.
A failsafe (protocol, port, prefix) means, inbound: a packet to that port, from that prefix; outbound: a packet to that
port, to that prefix. In the untracked groups, which know no flows, their answers (from that port) pass as well.
Evaluation of a group, and what `Group.end` means: see `intent.policy`.
Source: Calico v3, "Host endpoints", and the chains that its agent makes (raw, mangle, filter).
"""

from __future__ import annotations

import msgspec

from muslin.intent.keys import EndpointKey, GroupId
from muslin.net import Cidr

ALL_INTERFACES = "*"


class Qos(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of one workload's link, 0: none. Ingress is towards the workload.

    Bandwidths and peak rates in bit/s, bursts in bit, minimum bursts in byte, packet rates in packet/s, packet bursts
    in packets, connections at a time. `dscp`: 0..63, written into packets that the workload sends; None: left alone.
    """

    ingress_bandwidth: int = 0
    ingress_burst: int = 0
    ingress_peakrate: int = 0
    ingress_minburst: int = 0
    ingress_packet_rate: int = 0
    ingress_packet_burst: int = 0
    ingress_connections: int = 0
    egress_bandwidth: int = 0
    egress_burst: int = 0
    egress_peakrate: int = 0
    egress_minburst: int = 0
    egress_packet_rate: int = 0
    egress_packet_burst: int = 0
    egress_connections: int = 0
    dscp: int | None = None


class Published(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A port of the host that leads to the workload. `host_address` "": at every address of the host but loopback's.

    What is sent there, by whomever, arrives at the workload's first address of that family and at `port`. Policy sees
    the workload's own address and port.
    """

    protocol: int
    host_port: int
    port: int
    host_address: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A local workload's interface. Addresses are /32 and /128. `mac` is the workload's ("" when unknown).

    `spoofable`: further source prefixes that the workload may send from.
    `nat`: (external, internal) floating addresses: what is sent to the external one arrives at the internal one, and
    what the internal one sends to the world outside leaves from the external one. Policy sees the internal one.
    `gateway_v6`: what the workload knows its IPv6 gateway by, if not by the usual fe80::1; link-local.
    """

    key: EndpointKey
    interface: str
    ingress: GroupId
    egress: GroupId
    mac: str = ""
    addresses: tuple[Cidr, ...] = ()
    spoofable: tuple[Cidr, ...] = ()
    nat: tuple[tuple[str, str], ...] = ()
    qos: Qos | None = None
    published: tuple[Published, ...] = ()
    gateway_v6: str = ""


class HostInterface(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A host endpoint: an interface of the host itself, or `*`. Empty GroupId: no policy of that sort selects it.

    From the server `interface` may be "": then it is the interface that has one of `addresses`, which only the host
    knows. What `calc.host` hands on names an interface that is there, or `*`, at most one HostInterface for each; of
    several that claim one, by name or by address, the one with the smallest key has it. One that covers several, by
    their addresses, is handed on once for each, all but the first with the key KEY@INTERFACE.
    `ingress` and `egress` are never empty: a host endpoint without policy and profiles lets only failsafes through.
    """

    key: EndpointKey
    interface: str
    addresses: tuple[Cidr, ...] = ()
    ingress: GroupId = GroupId("")
    egress: GroupId = GroupId("")
    forward_ingress: GroupId = GroupId("")
    forward_egress: GroupId = GroupId("")
    untracked_ingress: GroupId = GroupId("")
    untracked_egress: GroupId = GroupId("")
    pre_dnat: GroupId = GroupId("")
