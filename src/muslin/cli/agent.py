"""`muslin agent`: keeps this host's kernel as it should be."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from muslin.agent.options import AgentOptions
from muslin.cli import logs
from muslin.cli.connection import address, identity
from muslin.cli.faults import Refused
from muslin.cli.labelling import pairs
from muslin.cli.parsing import Parser, Words
from muslin.client.address import parse
from muslin.intent import Backend
from muslin.model import validation
from muslin.model.kinds import CALICO

EXAMPLES = """
muslin agent                                             this host, the server of this machine
muslin agent --node h1 --server https://10.0.0.1:6443    with certificates, see below
muslin agent --ip 10.0.0.11/24 --as-number 65001 --label rack=east
"""
MORE = """\
It asks the server for what this host must do, makes the kernel so (nftables, routes, BIRD) and reports. It owns the nft
table `inet muslin` (or chains mus-* of iptables and sets mus* of ipset), interfaces mus*, and its own routes; nothing
else is touched. It needs root."""


def options(parser: Parser) -> None:
    """What `up` has in common with it."""
    parser.add_argument("--node", default="", metavar="NAME", help="this host's name ($NODENAME, else the host name)")
    parser.add_argument("--ip", default="", metavar="ADDRESS/LENGTH", help="IPv4 for BGP (default: the uplink's)")
    parser.add_argument("--ip6", default="", metavar="ADDRESS/LENGTH", help="IPv6 for BGP (default: the uplink's)")
    parser.add_argument("--as-number", default="", metavar="N", help="AS number (default: as BGPConfiguration says)")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="of the Node: rack=east")
    parser.add_argument("--no-bgp", action="store_true", help="routes to other hosts are somebody else's job")
    parser.add_argument("--dataplane", default="", choices=[one.value for one in Backend], metavar="NAME",
                        help="nftables, iptables-legacy or iptables-nft (default: as FelixConfiguration says)")
    parser.add_argument("--socket", default="", metavar="FILE", help="where the agent listens (default: /run/muslin)")
    parser.add_argument("--state", default="", metavar="DIR", help="what it keeps (default: /var/lib/muslin)")


def chosen(words: Words, servers: Sequence[str]) -> AgentOptions:
    """What the words say. Raises Refused before anything is touched where they would make no Node."""
    options = AgentOptions(
        node=words.node or os.environ.get("NODENAME") or platform.node().lower(),
        servers=tuple(servers),
        identity=identity(words),
        socket=Path(words.socket) if words.socket else None,
        state=Path(words.state) if words.state else None,
        ipv4_address=words.ip,
        ipv6_address=words.ip6,
        as_number=words.as_number,
        labels=pairs(words.label),
        bgp=not words.no_bgp,
        dataplane=Backend(words.dataplane) if words.dataplane else None,
    )
    _check(options)
    return options


def _check(options: AgentOptions) -> None:
    bgp = {"ipv4Address": options.ipv4_address, "ipv6Address": options.ipv6_address, "asNumber": options.as_number}
    node = {
        "apiVersion": CALICO, "kind": "Node", "metadata": {"name": options.node, "labels": dict(options.labels)},
        "spec": {"bgp": said} if (said := {key: value for key, value in bgp.items() if value}) else {},
    }
    for key, flag in (("ipv4Address", "--ip"), ("ipv6Address", "--ip6")):
        if bgp[key] and "/" not in bgp[key]:
            raise Refused(f"{flag} {bgp[key]}: write the address with its length, as on the interface: {bgp[key]}/24")
    if faults := validation.faults(node):
        raise Refused("\n  ".join(["this host cannot be registered so:", *map(str, faults)]))
    for server in options.servers:
        parse(server)


def run(arguments: list[str]) -> int:
    parser = Parser("agent", "Keep this host's kernel as it should be.", usage="[options]", examples=EXAMPLES,
                    more=MORE)
    options(parser)
    words = parser.read(arguments)
    wanted = chosen(words, address(words).split(","))
    logs.configure(debug=words.debug)
    from muslin.agent.run import run as run_agent
    from muslin.cli.services import services

    asyncio.run(run_agent(wanted, services=services))
    return 0
