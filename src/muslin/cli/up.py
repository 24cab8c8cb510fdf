"""`muslin up`: this machine as a muslin host, in one process, with nothing to configure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from muslin.agent.options import AgentOptions
from muslin.cli import agent, logs, screen, server
from muslin.cli.faults import Refused
from muslin.cli.parsing import Parser
from muslin.cli.signals import stop_on_signals
from muslin.client.blocking import Client
from muslin.errors import Invalid
from muslin.net import parse_cidr, version_of
from muslin.server.run import ServerOptions, serve

EXAMPLES = """
muslin up --pool 10.65.0.0/16 --pool fd65::/48     the first time: addresses for workloads
muslin up                                          later
muslin workload add web --netns web -l app=web     from another shell
"""
MORE = """\
The store is a SQLite file in /var/lib/muslin; the API is a unix socket that only root can open. No address pool is made
unless --pool asks for it: a range that collides with your network is worse than none. A pool that is there is kept."""
POOLS = "/apis/projectcalico.org/v3/ippools"
POOL_NAMES = {4: "default-ipv4-ippool", 6: "default-ipv6-ippool"}
"""Calico's names for the pools that a first start makes."""


def run(arguments: list[str]) -> int:
    parser = Parser("up", "Server and agent for this machine, in one process.", usage="[options]", examples=EXAMPLES,
                    more=MORE)
    parser.add_argument("--pool", action="append", default=[], metavar="PREFIX",
                        help="addresses for workloads, if there is no pool of that family yet; may be repeated")
    server.options(parser)
    agent.options(parser)
    words = parser.read(arguments)
    wanted = server.chosen(words)
    socket = next((str(listener) for listener in wanted.listeners() if listener.path), "")
    if not socket:
        raise Refused("`up` needs a unix socket for its agent: add --listen unix:PATH")
    pools = [_prefix(text) for text in words.pool]
    logs.configure(debug=words.debug)
    asyncio.run(_up(wanted, agent.chosen(words, [socket]), socket, pools))
    return 0


def _prefix(text: str) -> str:
    try:
        return parse_cidr(text)
    except ValueError as error:
        raise Invalid(f"--pool {error}: write a prefix, such as 10.65.0.0/16") from None


async def _up(wanted: ServerOptions, here: AgentOptions, socket: str, pools: Sequence[str]) -> None:
    from muslin.agent.run import run as run_agent
    from muslin.cli.services import services

    told, serving = stop_on_signals(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        server_task = tasks.create_task(serve(wanted, told, serving))
        waiting = tasks.create_task(serving.wait())
        await asyncio.wait((server_task, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if server_task.done():
            return
        await asyncio.to_thread(_make_pools, socket, pools)
        await run_agent(here, told, services)


def _make_pools(socket: str, pools: Sequence[str]) -> None:
    client = Client(socket)
    there = {version_of(pool["spec"]["cidr"]) for pool in client.get(POOLS)["items"]}
    for cidr in pools:
        version = version_of(cidr)
        if version not in there:
            name = POOL_NAMES[version]
            client.post(POOLS, {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": name},
                                "spec": {"cidr": cidr}})
            screen.note(f"IPPool {name}: {cidr}")
    if not there and not pools:
        screen.note("there is no IPPool yet, so workloads get no addresses: muslin create ippool workloads "
                    "--cidr 10.65.0.0/16")
    client.close()
