"""bird.conf: what one host's speaker must say, in BIRD 2's words.

    own blocks --static--> +---------+ --export filter--> peers
    peers --import filter->|  table  |
    kernel: gateways ----->|         | --kernel filter--> kernel (main table)
    links ---------------->+---------+

Four things flow into BIRD's table. Own blocks and learnt routes are what BGP is about. The host's links, and kernel
routes that others made, are there for one purpose only: a learnt route names a next hop, and BIRD must find the way to
it. They are told to nobody unless a BGPFilter says so. Routes to workloads (one address, no gateway) are never read
from the kernel: the block that contains them is announced instead, from the first moment, and one workload more or
less is no news.

Nothing is lost when BIRD dies: `persist` leaves its kernel routes, peers keep theirs (graceful restart), and a BIRD
that is started with -R touches the kernel only after its peers have told it everything again.

All of BIRD's kernel routes have one metric. BIRD 2.0 can set it route by route, but when an IPv4 route's metric then
changes, it leaves the old route in the kernel for good (it replaces, and the kernel replaces only within a metric); a
better route that goes away would go on drawing packets. So priority decides in BIRD's table, and the winner goes down.

BIRD 2.0 may sleep on work that is ready: after its first announcement to a peer has been put together, it is sent when
the next timer fires, 3 s later where there is none before. So interfaces are scanned every second: cheap, and a clock.

Rule: both directions of every session are written out. BIRD's default for eBGP is silence, for iBGP it is everything.
"""

from __future__ import annotations

from muslin.intent import BgpFilter, BgpSession, BgpSpeaker
from muslin.net import is_host, version_of
from muslin.render.bird_filters import LARGEST, call, functions, quoted, tag

RECOVERY = 60
"""Seconds a restarted BIRD waits for its peers before it takes away kernel routes that nobody renewed. A peer that is
gone for good holds up new routes that long, and no longer."""
_LOG_BYTES = 1 << 20
_ENCODED_PRIORITY = 1 << 30
"""A local preference above this is a priority in disguise; below it is what a router's administrator wrote."""

_SEVERITIES = {
    "debug": "all",
    "info": "{ trace, info, remote, warning, error, auth, fatal, bug }",
    "warning": "{ warning, error, auth, fatal, bug }",
    "error": "{ error, fatal, bug }",
    "fatal": "{ fatal, bug }",
}


def conf(speaker: BgpSpeaker, *, log: str = "") -> str:
    """The whole file. `log`: path of BIRD's log, kept below a megabyte; none when empty."""
    versions = sorted({version_of(address) for address in speaker.addresses})
    lines = [
        "# Written by muslin from Node, BGPConfiguration, BGPPeer, BGPFilter and IPPool. Changes made here are lost.",
        "",
        *_global(speaker, log),
    ]
    for version in versions:
        lines += _family(speaker, version)
    lines += _template()
    filters = {written.name: written for written in speaker.filters}
    for session in speaker.sessions:
        if version_of(session.peer_address) in versions:
            lines += _session(speaker, session, filters)
    return "\n".join(lines) + "\n"


def _global(speaker: BgpSpeaker, log: str) -> list[str]:
    severity = speaker.log_severity.lower() or "info"
    lines = []
    if log and severity in _SEVERITIES:
        lines.append(f'log "{log}" {_LOG_BYTES} "{log}.old" {_SEVERITIES[severity]};')
    if severity in ("info", "debug"):
        lines.append(f"debug protocols {'all' if severity == 'debug' else '{ states }'};")
    ignored = "".join(f"-{quoted(pattern)}, " for pattern in speaker.ignored_interfaces)
    return [
        *lines,
        f"router id {speaker.router_id};",
        f"graceful restart wait {RECOVERY};",
        "",
        "protocol device {",
        "  scan time 1;",
        "}",
        "",
        "# The host's own links: where next hops are found.",
        "protocol direct links {",
        "  ipv4;",
        "  ipv6;",
        f'  interface {ignored}"*";',
        "}",
        "",
    ]


def _family(speaker: BgpSpeaker, version: int) -> list[str]:
    return [
        f"# {'-' * 40} IPv{version}",
        "",
        *_origins(speaker, version),
        *_gateways(speaker, version),
        *_priorities(speaker, version),
        *functions(speaker.filters, version),
        *_announcement(speaker, version),
        *_kernel(speaker, version),
    ]


def _origins(speaker: BgpSpeaker, version: int) -> list[str]:
    prefixes = [origin.prefix for origin in speaker.originate if version_of(origin.prefix) == version]
    if not prefixes:
        return []
    return [
        "# Blocks of addresses that this host owns; single addresses that it holds in another host's block.",
        f"protocol static blocks{version} {{",
        f"  ipv{version};",
        *(f"  route {prefix} blackhole;" for prefix in prefixes),
        "}",
        "",
    ]


def _gateways(speaker: BgpSpeaker, version: int) -> list[str]:
    ways = sorted({
        (session.peer_address, session.reachable_by) for session in speaker.sessions
        if session.reachable_by and version_of(session.peer_address) == version
    })
    if not ways:
        return []
    length = 128 if version == 6 else 32
    return [
        "# reachableBy: peers that are found behind a gateway.",
        f"protocol static reachable{version} {{",
        f"  ipv{version};",
        *(f"  route {peer}/{length} via {gateway};" for peer, gateway in ways),
        "}",
        "",
    ]


def _priorities(speaker: BgpSpeaker, version: int) -> list[str]:
    normal = speaker.priority_v6 if version == 6 else speaker.priority_v4
    return [
        "# A route's priority, which filters match and set. From host to host it travels as local preference.",
        f"function arriving{version}()",
        "{",
        f"  krt_metric = {normal};",
        f"  if bgp_local_pref > {_ENCODED_PRIORITY} then krt_metric = {LARGEST} - bgp_local_pref;",
        "}",
        "",
        f"function leaving{version}()",
        "{",
        f"  if !defined(krt_metric) then krt_metric = {normal};",
        "}",
        "",
    ]


def _announcement(speaker: BgpSpeaker, version: int) -> list[str]:
    """What peers are told when no BGPFilter has decided before."""
    def own(prefixes: tuple[str, ...]) -> list[str]:
        return [prefix for prefix in prefixes if version_of(prefix) == version]

    lines = [f"function announce{version}()", "{"]
    if own(speaker.withhold):
        lines.append(f"  if net ~ [ {_all_inside(own(speaker.withhold))} ] then reject;  # disableBGPExport")
    for tagged in speaker.communities:
        if version_of(tagged.prefix) == version and tagged.communities:
            lines.append(f"  if net ~ [ {tagged.prefix}+ ] then {{ {tag(tagged.communities)} }}")
    if any(version_of(origin.prefix) == version and origin.export for origin in speaker.originate):
        lines.append(f'  if proto = "blocks{version}" then accept;')
    if own(speaker.accept):
        lines.append(f"  if source = RTS_BGP && net ~ [ {_all_inside(own(speaker.accept))} ] then accept;")
    return [*lines, "  reject;", "}", ""]


def _all_inside(prefixes: list[str]) -> str:
    return ", ".join(f"{prefix}+" for prefix in prefixes)


def _kernel(speaker: BgpSpeaker, version: int) -> list[str]:
    normal = speaker.priority_v6 if version == 6 else speaker.priority_v4
    source = next(address for address in speaker.addresses if version_of(address) == version)
    single = [o.prefix for o in speaker.originate if version_of(o.prefix) == version and is_host(o.prefix)]
    lines = [
        f"filter to_kernel{version}",
        "{",
        f"  if source = RTS_BGP then {{ krt_prefsrc = {source}; accept; }}",
    ]
    if single:
        lines.append(f"  if net ~ [ {', '.join(single)} ] then reject;  # the agent's own route leads to the workload")
    return [
        *lines,
        "  if source = RTS_STATIC then accept;",
        "  reject;",
        "}",
        "",
        f"protocol kernel kernel{version} {{",
        "  persist;",
        "  graceful restart on;",
        "  merge paths on;",
        "  learn;",
        f"  metric {normal};",
        "  scan time 5;",
        f"  ipv{version} {{",
        f"    import where gw != :: || net.len < {128 if version == 6 else 32};  # ways to next hops, not to workloads",
        f"    export filter to_kernel{version};",
        "  };",
        "}",
        "",
    ]


def _template() -> list[str]:
    return [
        f"# {'-' * 40} peers",
        "",
        "template bgp peer {",
        "  graceful restart on;",
        "  multihop;  # next hops are looked up, wherever the peer stands",
        "  connect delay time 1;",
        "  connect retry time 5;",
        "  error wait time 1, 30;",
        "}",
        "",
    ]


def _session(speaker: BgpSpeaker, session: BgpSession, filters: dict[str, BgpFilter]) -> list[str]:
    local = f"{session.source_address} " if session.source_address else ""
    lines = [
        f"protocol bgp {session.name} from peer {{",
        f"  description {quoted(session.origin)};",
        f"  local {local}port {speaker.listen_port} as {session.local_as};",
        f"  neighbor {session.peer_address} port {session.peer_port} as {session.peer_as};",
    ]
    if speaker.bind_mode == "NodeIP" and session.source_address:
        lines.append("  strict bind on;")
    if session.passive:
        lines.append("  passive on;  # the other end calls")
    if session.ttl_security is not None:
        lines += [f"  multihop {session.ttl_security};", "  ttl security on;"]
    if session.password:
        lines.append(f"  password {quoted(session.password)};")
    if session.max_restart_time is not None:
        lines.append(f"  graceful restart time {session.max_restart_time};")
    if session.keepalive_time is not None:
        lines.append(f"  keepalive time {session.keepalive_time};")
    if session.allowed_local_as:
        lines.append(f"  allow local as {session.allowed_local_as};")
    if session.reflector_client:
        lines += ["  rr client;", f"  rr cluster id {speaker.cluster_id};"]
    return [*lines, *_channel(session, filters), "}", ""]


def _channel(session: BgpSession, filters: dict[str, BgpFilter]) -> list[str]:
    version = version_of(session.peer_address)
    internal = session.peer_as == session.local_as
    named = [filters[name] for name in session.filters if name in filters]
    arriving = [f"arriving{version}();", *(call(f, "in", version, internal=internal) for f in named), "accept;"]
    leaving = [f"leaving{version}();", *(call(f, "out", version, internal=internal) for f in named),
               f"announce{version}();"]
    next_hop = {"Self": ["    next hop self;"], "Keep": ["    next hop keep;"]}.get(session.next_hop_mode, [])
    return [
        f"  ipv{version} {{",
        f"    import filter {{ {' '.join(filter(None, arriving))} }};",
        f"    export filter {{ {' '.join(filter(None, leaving))} }};",
        *next_hop,
        "    add paths on;",
        "  };",
    ]
