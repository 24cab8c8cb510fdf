"""What ONE host must do, as frozen data that knows no backend: endpoints, groups, policies, sets, routes, BGP.

In: nothing; these are only types (and their JSON form, which is also the stream from server to agent).
Out: three readers must agree on them: the nftables kernel, the iptables kernel, and `explain`.
Never here: chain names, marks, nft words, selectors, resources.
"""

from muslin.intent.bgp import BgpFilter, BgpFilterRule, BgpSession, BgpSpeaker, PrefixCommunities, StaticOrigin
from muslin.intent.delta import BLANK, Backend, Delta, HostIntent, MemberChange, Settings
from muslin.intent.endpoint import ALL_INTERFACES, Endpoint, HostInterface, Published, Qos
from muslin.intent.keys import EndpointKey, GroupId, PolicyId, SetId
from muslin.intent.policy import (
    Action,
    AddressSet,
    Direction,
    Group,
    Icmp,
    Match,
    Origin,
    Policy,
    PortMember,
    PortSet,
    Rule,
    TierStage,
)
from muslin.intent.report import EndpointState, HostReport, Problem, Repair, SessionState
from muslin.intent.routing import Neighbour, Route, RouteKind

__all__ = [
    "ALL_INTERFACES",
    "BLANK",
    "Action",
    "AddressSet",
    "Backend",
    "BgpFilter",
    "BgpFilterRule",
    "BgpSession",
    "BgpSpeaker",
    "Delta",
    "Direction",
    "Endpoint",
    "EndpointKey",
    "EndpointState",
    "Group",
    "GroupId",
    "HostIntent",
    "HostInterface",
    "HostReport",
    "Icmp",
    "Match",
    "MemberChange",
    "Neighbour",
    "Origin",
    "Policy",
    "PolicyId",
    "PortMember",
    "PortSet",
    "PrefixCommunities",
    "Problem",
    "Published",
    "Qos",
    "Repair",
    "Route",
    "RouteKind",
    "Rule",
    "SessionState",
    "SetId",
    "Settings",
    "StaticOrigin",
    "TierStage",
]
