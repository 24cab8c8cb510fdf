"""The fabric's own routers: plain BIRD 2, written down as any network engineer would, with no part of muslin in it.

A rack's router is three things at once: the switch its hosts hang on, a route reflector for them (iBGP, the hosts of
a rack reach each other without passing through it), and the way out (eBGP to every spine, next hop self inwards).
It waits for its hosts to call. Where both ends call a second after a BIRD has died, they may do so in the same moment;
one of the two connections is closed then (RFC 4271, 6.8), and if it is the one that the router holds for established,
that is a second death to it: it forgets the host's routes until it is told them again (RFC 4724).
"""

from __future__ import annotations

from pathlib import Path

from muslin.lab.topology import Host, Neighbour, Router
from muslin.net import version_of

_HEAD = """\
log "{log}" 1048576 "{log}.old" {{ trace, info, warning, error, fatal, bug }};
debug protocols {{ states }};
router id {router.router_id};

protocol device {{
  scan time 1;
}}

protocol direct {{
  ipv4;
  ipv6;
}}

protocol kernel {{
  persist;
  graceful restart;
  merge paths on;
  ipv4 {{ export where source = RTS_BGP; }};
}}

protocol kernel {{
  persist;
  graceful restart;
  merge paths on;
  ipv6 {{ export where source = RTS_BGP; }};
}}

template bgp fabric {{
  local as {router.local_as};
  graceful restart;
  connect delay time 1;
  connect retry time 2;
  error wait time 1, 5;
  hold time 30;
  keepalive time 10;
}}
"""

# Everything goes through; a rack tells its own subnet too. The cable's own prefix is nobody else's business.
_OUTWARD = """
protocol bgp {name}_{version} from fabric {{
  neighbor {peer} as {peer_as};
  ipv{version} {{
    import all;
    export where source = RTS_BGP || (source = RTS_DEVICE && net.len < {single});
  }};
}}
"""

_INWARD = """
protocol bgp {name}_{version} from fabric {{
  local {own};
  neighbor {peer} as {peer_as};
  passive on;
  direct;
  rr client;
  ipv{version} {{
    import all;
    export where source = RTS_BGP;
    next hop self ebgp;
    add paths tx;
  }};
}}
"""


def router_conf(router: Router, log: Path) -> str:
    """The whole bird.conf of one router."""
    parts = [_HEAD.format(log=log, router=router)]
    parts += [_outward(neighbour, version) for neighbour in router.neighbours for version in (4, 6)]
    parts += [_inward(router, host, address) for host in router.hosts for address in (host.v4, host.v6)]
    return "".join(parts)


def _outward(neighbour: Neighbour, version: int) -> str:
    return _OUTWARD.format(
        name=neighbour.name, version=version, peer=neighbour.theirs[version == 6], peer_as=neighbour.peer_as,
        single=127 if version == 6 else 31,
    )


def _inward(router: Router, host: Host, address: str) -> str:
    version = version_of(address)
    own = next(own.partition("/")[0] for own in router.addresses if version_of(own) == version)
    return _INWARD.format(name=host.name, version=version, own=own, peer=address, peer_as=router.local_as)
