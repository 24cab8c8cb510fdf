"""This host's Node resource: made at the first start, brought up to date at every other."""

from __future__ import annotations

import asyncio

import structlog

from muslin.agent import resources
from muslin.agent.options import AgentOptions
from muslin.agent.report import Reporter
from muslin.agent.upstream import Upstream
from muslin.client.refusal import ApiError, Unreachable
from muslin.drivers.netlink import Netlink
from muslin.drivers.uplink import read_uplink
from muslin.intent import Problem
from muslin.model.names import INTERFACE_PREFIX

_AGAIN = 2.0

log = structlog.get_logger()


async def register(options: AgentOptions, upstream: Upstream, reporter: Reporter) -> None:
    """Until a server has taken it."""
    given = {
        "ipv4Address": options.ipv4_address, "ipv6Address": options.ipv6_address, "asNumber": options.as_number,
    }
    said = {key: value for key, value in given.items() if value} if options.bgp else {}
    while True:
        try:
            await resources.put_node(upstream, options.node, options.labels, said, _found() if options.bgp else {})
        except (ApiError, Unreachable) as error:
            reporter.problems["node"] = Problem(what=f"Node {options.node} is not registered: {error}",
                                                mend="see the options of `muslin agent`", key=f"Node/{options.node}")
            await asyncio.sleep(_AGAIN)
            continue
        reporter.problems.pop("node", None)
        log.info("registered", node=options.node)
        return


def _found() -> dict[str, str]:
    with Netlink() as netlink:
        uplink = read_uplink(netlink, workload_prefix=INTERFACE_PREFIX)
    found = {"ipv4Address": uplink.ipv4, "ipv6Address": uplink.ipv6}
    return {key: value for key, value in found.items() if value}
