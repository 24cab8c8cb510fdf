"""The law of one rule as a table: fields, a packet, whether they match. `explain` and the kernel must both obey it.

Many of these cannot be written as resources (calc refuses a rule with ports and no protocol), but the intent can say
them, and whatever the intent can say has one meaning. The reasons stand in the docstring of `explain.rule`.
"""

from __future__ import annotations

from typing import Any

from intent_words import ICMP6, SCTP, TCP, UDP, addresses, match, nets, ping, ports, tcp, udp
from muslin.explain import Packet
from muslin.intent import Icmp

SETS = (
    addresses("v4", "10.0.0.1/32", "10.9.0.0/16"),
    addresses("v6", "fd00::1/128", "fd09::/16"),
    addresses("none"),
    ports("web", ("10.0.0.2", TCP, 80), ("fd00::2", TCP, 80), ("10.0.0.1", UDP, 53)),
    ports("noport"),
)
A, B, C = "10.0.0.1", "10.0.0.2", "10.9.7.7"
A6, B6 = "fd00::1", "fd00::2"
OTHER_PROTOCOL = Packet(A, B, 47)

LAW: list[tuple[str, dict[str, Any], Packet, bool]] = [
    ("an empty rule matches everything", {}, tcp(A, B, 80), True),
    ("an empty rule matches what has no ports", {}, OTHER_PROTOCOL, True),
    ("ipVersion of the packet", {"ip_version": 4}, tcp(A, B, 80), True),
    ("ipVersion of the other family", {"ip_version": 6}, tcp(A, B, 80), False),
    ("the protocol", {"protocol": TCP}, tcp(A, B, 80), True),
    ("another protocol", {"protocol": TCP}, udp(A, B, 80), False),
    ("notProtocol of another", {"not_protocol": TCP}, udp(A, B, 80), True),
    ("notProtocol of this one", {"not_protocol": TCP}, tcp(A, B, 80), False),
    ("protocol and notProtocol contradict", {"protocol": TCP, "not_protocol": TCP}, tcp(A, B, 80), False),
    ("ICMP is not ICMPv6", {"protocol": 1}, ping(A6, B6), False),
    ("an ICMP type", {"icmp": Icmp(type=8)}, ping(A, B), True),
    ("an ICMPv6 type", {"icmp": Icmp(type=128)}, ping(A6, B6), True),
    ("another ICMP type", {"icmp": Icmp(type=8)}, ping(A, B, 0), False),
    ("an ICMP code", {"icmp": Icmp(type=3, code=1)}, ping(A, B, 3, 1), True),
    ("another ICMP code", {"icmp": Icmp(type=3, code=1)}, ping(A, B, 3, 0), False),
    ("code 0 is a code", {"icmp": Icmp(type=3, code=0)}, ping(A, B, 3, 1), False),
    ("type 0 is a type", {"icmp": Icmp(type=0)}, ping(A, B, 8), False),
    ("an ICMP type wants ICMP", {"icmp": Icmp(type=8)}, tcp(A, B, 8), False),
    ("ICMP over IPv6 is not its ICMP", {"icmp": Icmp(type=8)}, Packet(A6, B6, 1, icmp_type=8), False),
    ("ICMPv6 over IPv4 is not its ICMP", {"icmp": Icmp(type=8)}, Packet(A, B, ICMP6, icmp_type=8), False),
    ("notICMP of this type", {"not_icmp": Icmp(type=8)}, ping(A, B), False),
    ("notICMP of another type", {"not_icmp": Icmp(type=8)}, ping(A, B, 0), True),
    ("notICMP of another code", {"not_icmp": Icmp(type=3, code=1)}, ping(A, B, 3, 0), True),
    ("notICMP of this code", {"not_icmp": Icmp(type=3, code=1)}, ping(A, B, 3, 1), False),
    ("notICMP holds for all that is not ICMP", {"not_icmp": Icmp(type=8)}, tcp(A, B, 80), True),
    ("a net", {"source": match(nets=nets("10.0.0.0/24"))}, tcp(A, B, 80), True),
    ("one of several nets", {"source": match(nets=nets("10.1.0.0/16", "10.0.0.1/32"))}, tcp(A, B, 80), True),
    ("the net of the other side", {"source": match(nets=nets("10.0.0.2/32"))}, tcp(A, B, 80), False),
    ("destination nets", {"destination": match(nets=nets("10.0.0.2/31"))}, tcp(A, B, 80), True),
    ("one address past a net", {"source": match(nets=nets("10.0.0.0/32"))}, tcp(A, B, 80), False),
    ("everything", {"source": match(nets=nets("0.0.0.0/0"))}, tcp(A, B, 80), True),
    ("everything of IPv4 is nothing of IPv6", {"source": match(nets=nets("0.0.0.0/0"))}, tcp(A6, B6, 80), False),
    ("nets of both families", {"source": match(nets=nets("0.0.0.0/0", "fd00::/8"))}, tcp(A6, B6, 80), True),
    ("notNets elsewhere", {"source": match(not_nets=nets("10.9.0.0/16"))}, tcp(A, B, 80), True),
    ("notNets here", {"source": match(not_nets=nets("10.0.0.0/24", "10.9.0.0/16"))}, tcp(A, B, 80), False),
    ("notNets of IPv4 silence an IPv6 rule", {"source": match(not_nets=nets("10.9.0.0/16"))}, tcp(A6, B6, 80), False),
    ("notNets of both families", {"source": match(not_nets=nets("10.0.0.0/8", "fd09::/16"))}, tcp(A6, B6, 80), True),
    ("nets and notNets are both asked", {"source": match(nets=nets("10.0.0.0/8"), not_nets=nets("10.0.0.1/32"))},
     tcp(A, B, 80), False),
    ("a set, by address", {"source": match(sets=("v4",))}, tcp(A, B, 80), True),
    ("a set, by prefix", {"source": match(sets=("v4",))}, tcp(C, B, 80), True),
    ("not in the set", {"destination": match(sets=("v4",))}, tcp(A, B, 80), False),
    ("every set is asked", {"source": match(sets=("v4", "v6"))}, tcp(A, B, 80), False),
    ("a set without the family", {"source": match(sets=("v4",))}, tcp(A6, B6, 80), False),
    ("an empty set", {"source": match(sets=("none",))}, tcp(A, B, 80), False),
    ("notSelector, in the set", {"source": match(not_sets=("v4",))}, tcp(A, B, 80), False),
    ("notSelector, not in the set", {"destination": match(not_sets=("v4",))}, tcp(A, B, 80), True),
    ("notSelector, a set without the family", {"source": match(not_sets=("v4",))}, tcp(A6, B6, 80), True),
    ("notSelector, an empty set", {"source": match(not_sets=("none",))}, tcp(A, B, 80), True),
    ("a port", {"destination": match(ports=((80, 80),))}, tcp(A, B, 80), True),
    ("the first of a range", {"destination": match(ports=((80, 90),))}, tcp(A, B, 80), True),
    ("the last of a range", {"destination": match(ports=((80, 90),))}, udp(A, B, 90), True),
    ("one past a range", {"destination": match(ports=((80, 90),))}, tcp(A, B, 91), False),
    ("one before a range", {"destination": match(ports=((80, 90),))}, tcp(A, B, 79), False),
    ("a source port", {"source": match(ports=((4000, 4000),))}, tcp(A, B, 80, source_port=4000), True),
    ("another source port", {"source": match(ports=((80, 80),))}, tcp(A, B, 80, source_port=4000), False),
    ("SCTP has ports", {"destination": match(ports=((80, 80),))}, Packet(A, B, SCTP, 80), True),
    ("a packet without ports has none of them", {"destination": match(ports=((0, 65535),))}, OTHER_PROTOCOL, False),
    ("nor has ICMP", {"destination": match(ports=((0, 65535),))}, ping(A, B), False),
    ("a named port", {"destination": match(named_ports=("web",))}, tcp(A, B, 80), True),
    ("a named port, IPv6", {"destination": match(named_ports=("web",))}, tcp(A6, B6, 80), True),
    ("a named port of another protocol", {"destination": match(named_ports=("web",))}, udp(A, B, 80), False),
    ("a named port of another address", {"destination": match(named_ports=("web",))}, tcp(B, A, 80), False),
    ("a number or a name", {"destination": match(ports=((443, 443),), named_ports=("web",))}, tcp(A, B, 80), True),
    ("a name or a number", {"destination": match(ports=((443, 443),), named_ports=("web",))}, tcp(A, B, 443), True),
    ("one of two names", {"destination": match(named_ports=("noport", "web"))}, tcp(A, B, 80), True),
    ("a name that nobody has", {"destination": match(named_ports=("noport",))}, tcp(A, B, 80), False),
    ("a named source port", {"source": match(named_ports=("web",))}, udp(A, B, 9, source_port=53), True),
    ("notPorts, another", {"destination": match(not_ports=((443, 443),))}, tcp(A, B, 80), True),
    ("notPorts, this one", {"destination": match(not_ports=((80, 90),))}, tcp(A, B, 80), False),
    ("notPorts of what has no ports", {"destination": match(not_ports=((0, 65535),))}, OTHER_PROTOCOL, True),
    ("notPorts by name, this one", {"destination": match(not_named_ports=("web",))}, tcp(A, B, 80), False),
    ("notPorts by name, another", {"destination": match(not_named_ports=("web",))}, tcp(A, B, 81), True),
    ("notPorts by name, no ports", {"destination": match(not_named_ports=("web",))}, OTHER_PROTOCOL, True),
    ("notPorts by number and name, by number", {"destination": match(not_ports=((81, 81),), not_named_ports=("web",))},
     tcp(A, B, 81), False),
    ("notPorts by number and name, by name", {"destination": match(not_ports=((81, 81),), not_named_ports=("web",))},
     tcp(A, B, 80), False),
    ("ports of both sides are both asked",
     {"source": match(ports=((1, 1),)), "destination": match(ports=((80, 80),))}, tcp(A, B, 80), False),
]
