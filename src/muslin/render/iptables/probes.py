"""Which extensions of iptables a host needs, and a rule of each that tells whether its kernel has it.

A kernel may lack modules, and legacy and nft find theirs in different ways, so nothing but a rule that the kernel takes
proves that it would take ours. Without those of CORE there is no policy at all; without one of the others, only what
needs it is not possible.
"""

from __future__ import annotations

import msgspec

from muslin.render.iptables.words import Table

PROBE = "mus-probe"
PROBED_SET = "create mus4probe hash:net,iface family inet maxelem 16"


class Sample(msgspec.Struct, frozen=True):
    """`extension`: as `words.EXTENSIONS` calls it."""

    extension: str
    rule: str
    table: Table = Table.FILTER


CORE = (
    Sample("comment", '-m comment --comment "a rule of muslin" -j RETURN'),
    Sample("set", "-m set --match-set mus4probe src,src -j RETURN"),
    Sample("conntrack", "-m conntrack --ctstate ESTABLISHED,RELATED -j RETURN"),
    Sample("mark", "-m mark --mark 0x1/0x1 -j RETURN"),
    Sample("MARK", "-j MARK --set-xmark 0x0/0x1"),
    Sample("multiport", "-p 17 -m multiport --dports 1,3:5 -j RETURN"),
    Sample("icmp", "-p 1 -m icmp --icmp-type 8 -j RETURN"),
)
OTHERS = (
    Sample("iprange", "-m iprange --src-range 192.0.2.1-192.0.2.9 -j RETURN"),
    Sample("limit", "-m limit --limit 1/second --limit-burst 5 -j RETURN"),
    Sample("LOG", '-j LOG --log-prefix "muslin: "'),
    Sample("REJECT", "-j REJECT"),
    Sample("CT", "-j CT --notrack", Table.RAW),
    Sample("DSCP", "-j DSCP --set-dscp 0x1", Table.MANGLE),
    Sample("hashlimit", "-m hashlimit --hashlimit-above 1/sec --hashlimit-burst 5 --hashlimit-name musprobe -j RETURN"),
    Sample("connlimit", "-m connlimit --connlimit-above 1 --connlimit-mask 0 -j RETURN", Table.MANGLE),
    Sample("MASQUERADE", "-j MASQUERADE", Table.NAT),
    Sample("SNAT", "-j SNAT --to-source 192.0.2.1", Table.NAT),
    Sample("DNAT", "-d 192.0.2.2 -j DNAT --to-destination 192.0.2.1", Table.NAT),
)
