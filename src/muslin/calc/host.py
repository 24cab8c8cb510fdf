"""The thin view of one host, in its agent: what the server said, made whole, with routes and neighbours added.

The server sends complete deltas, but the kernel must stay safe whatever arrives. So nothing leaves here that names
something that is not there. What is missing is replaced so that it denies, and the stand-in says what it stands for:

    an endpoint's group is missing        a group that denies, of whatever sort it is
    a group's policy is missing           a policy that denies
    a set is missing that a rule allows   an empty set: the rule matches nothing
    a set is missing that a rule forbids, the whole policy denies: with an empty set the rule would match everything,
    denies or passes                      or not stop what it must stop

    given      what the server said            --flush-->  intent     what renderers and drivers do
               sets  <- policies <- groups <- endpoints    (the arrows are looked up backwards in `References`)

The flush compares with what was handed out before, so a snapshot after a lost connection costs only what differs. The
routes are one to each address of a workload, floating ones included, through its interface; its MAC, where it is known,
is a permanent neighbour. Blackholes for the host's own address blocks are BIRD's, which announces them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

import msgspec
from msgspec import UNSET

from muslin.calc.binding import Interfaces, bind
from muslin.calc.identity import resource_key
from muslin.calc.log_prefix import worded
from muslin.calc.policies import denying
from muslin.calc.references import References
from muslin.calc.working import AnySet, WorkingSet
from muslin.intent import (
    Action,
    AddressSet,
    BgpSpeaker,
    Delta,
    Direction,
    Endpoint,
    EndpointKey,
    EndpointState,
    Group,
    GroupId,
    HostIntent,
    HostInterface,
    MemberChange,
    Neighbour,
    Policy,
    PolicyId,
    PortSet,
    Route,
    RouteKind,
    Rule,
    SetId,
    Settings,
    StaticOrigin,
)
from muslin.net import Cidr, host_cidr, version_of

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_BOTH = frozenset(Direction)


class Graph:
    """One host. `update` with what came, `flush` for what to do; `intent` is the whole of what was flushed."""

    def __init__(self) -> None:
        self._given = HostIntent()
        """Without the sets: those are in `_sets`."""
        self._sets: dict[SetId, WorkingSet] = {}
        self._done = HostIntent()
        self._interfaces: Interfaces = {}
        self.troubles: dict[EndpointKey, EndpointState] = {}
        """Of host endpoints, as of the last flush: those that guard nothing, or not yet, or not all they mean."""
        self._stale: set[SetId] = set()
        """Sets whose frozen value in `_done` is older than the last flush."""
        self._set_users: References[SetId, PolicyId] = References()
        self._policy_users: References[PolicyId, GroupId] = References()
        self._group_users: References[GroupId, EndpointKey] = References()
        self._holders: References[Cidr, EndpointKey] = References()
        self._floating: References[Cidr, EndpointKey] = References()
        """Floating addresses, while they are in force, and whose they are."""
        self._dirty_sets: set[SetId] = set()
        self._dirty_policies: set[PolicyId] = set()
        self._dirty_groups: set[GroupId] = set()
        self._dirty_endpoints: set[EndpointKey] = set()
        self._dirty_addresses: set[Cidr] = set()

    @property
    def intent(self) -> HostIntent:
        """What all flushes so far add up to."""
        for set_id in self._stale:
            self._done.sets[set_id] = self._sets[set_id].value()
        self._stale.clear()
        return self._done

    @property
    def given(self) -> Delta:
        """All that the server said so far, as a change from nothing: a graph that takes it in is where this one is."""
        given = self._given
        return Delta(
            revision=given.revision, snapshot=True, policies=dict(given.policies), groups=dict(given.groups),
            sets={set_id: working.value() for set_id, working in self._sets.items() if working.present},
            endpoints=dict(given.endpoints), host_interfaces=dict(given.host_interfaces),
            bgp=given.bgp, settings=given.settings,
        )

    @property
    def guards_host(self) -> bool:
        """Does it matter which interfaces there are?"""
        return bool(self._given.host_interfaces)

    def workloads(self) -> Callable[[str], bool]:
        """Is an interface of this name a workload's? As of now."""
        prefixes = tuple(self._given.settings.interface_prefix.split(","))
        declared = {endpoint.interface for endpoint in self._given.endpoints.values()}
        return lambda name: name in declared or name.startswith(prefixes)

    # --- in ---------------------------------------------------------------------------------------------------------

    def update(self, delta: Delta) -> None:
        """Take in what the server says. A snapshot replaces everything that was said before."""
        given = self._given
        given.revision = delta.revision
        if delta.snapshot:
            self._forget_others(delta)
        for set_id, members in delta.sets.items():
            self._take_set(set_id, members)
        for policy_id, policy in delta.policies.items():
            self._take_policy(policy_id, policy)
        for group_id, group in delta.groups.items():
            self._take_group(group_id, group)
        for key, endpoint in delta.endpoints.items():
            self._take_endpoint(key, endpoint)
        for key, interface in delta.host_interfaces.items():
            self._take_host_interface(key, interface)
        if delta.settings is not UNSET:
            self._take_settings(delta.settings)
        if delta.bgp is not UNSET:
            given.bgp = delta.bgp

    def update_interfaces(self, interfaces: Interfaces) -> bool:
        """Take in which interfaces there are, each with its addresses without length. Returns whether that is news."""
        if interfaces == self._interfaces:
            return False
        self._interfaces = dict(interfaces)
        return True

    def _forget_others(self, delta: Delta) -> None:
        given = self._given
        for key in given.endpoints.keys() - delta.endpoints.keys():
            self._take_endpoint(key, None)
        for group_id in given.groups.keys() - delta.groups.keys():
            self._take_group(group_id, None)
        for policy_id in given.policies.keys() - delta.policies.keys():
            self._take_policy(policy_id, None)
        for set_id in self._sets.keys() - delta.sets.keys():
            self._take_set(set_id, None)
        for key in given.host_interfaces.keys() - delta.host_interfaces.keys():
            self._take_host_interface(key, None)
        self._take_settings(Settings())
        given.bgp = None

    def _take_settings(self, settings: Settings) -> None:
        before, self._given.settings = self._given.settings, settings
        if settings.ipv6 != before.ipv6:
            for endpoint in self._given.endpoints.values():
                self._dirty_addresses |= {*endpoint.addresses, *_external(endpoint, settings)}
        if settings.log_prefix != before.log_prefix:
            self._dirty_policies |= self._given.policies.keys()
        if settings.floating_addresses != before.floating_addresses:
            for key, endpoint in self._given.endpoints.items():
                self._take_floating(key, _external(endpoint, before), _external(endpoint, settings))

    def _take_set(self, set_id: SetId, members: AnySet | MemberChange | None) -> None:
        working, was = self._sets.get(set_id), self._has_set(set_id)
        if isinstance(members, MemberChange):
            if working is None or not was:
                return  # a change of a set that was never given: it stays missing, and what is missing denies
            working.change(members)
        elif working is not None and (members is None or working.kind is type(members)):
            working.replace(members)
        elif members is not None:
            self._sets[set_id] = WorkingSet(members)
        self._dirty_sets.add(set_id)
        if was != self._has_set(set_id):
            self._dirty_policies |= self._set_users.users(set_id)

    def _take_policy(self, policy_id: PolicyId, policy: Policy | None) -> None:
        old, new = set(_sets(self._given.policies.get(policy_id))), set(_sets(policy))
        self._set_users.replace(policy_id, old, new)
        self._dirty_sets |= old | new
        _put(self._given.policies, policy_id, policy)
        self._dirty_policies.add(policy_id)

    def _take_group(self, group_id: GroupId, group: Group | None) -> None:
        old, new = set(_policies(self._given.groups.get(group_id))), set(_policies(group))
        self._policy_users.replace(group_id, old, new)
        self._dirty_policies |= old | new
        _put(self._given.groups, group_id, group)
        self._dirty_groups.add(group_id)

    def _take_endpoint(self, key: EndpointKey, endpoint: Endpoint | None) -> None:
        was = self._given.endpoints.get(key)
        old, new = set(_groups(was)), set(_groups(endpoint))
        self._group_users.replace(key, old, new)
        self._dirty_groups |= old | new
        before, after = (set(e.addresses) if e is not None else set() for e in (was, endpoint))
        self._holders.replace(key, before, after)
        self._dirty_addresses |= before | after
        settings = self._given.settings
        self._take_floating(key, _external(was, settings), _external(endpoint, settings))
        _put(self._given.endpoints, key, endpoint)
        self._dirty_endpoints.add(key)

    def _take_floating(self, key: EndpointKey, before: set[Cidr], after: set[Cidr]) -> None:
        self._floating.replace(key, before, after)
        self._dirty_addresses |= before | after

    def _take_host_interface(self, key: EndpointKey, interface: HostInterface | None) -> None:
        old, new = set(_groups(self._given.host_interfaces.get(key))), set(_groups(interface))
        self._group_users.replace(key, old, new)
        self._dirty_groups |= old | new
        _put(self._given.host_interfaces, key, interface)

    # --- out --------------------------------------------------------------------------------------------------------

    def flush(self) -> Delta:
        """What to do that was not said before."""
        given, done = self._given, self._done
        delta = Delta(revision=given.revision)
        for set_id in sorted(self._dirty_sets):
            self._flush_set(set_id, delta)
        for policy_id in sorted(self._dirty_policies):
            _settle(done.policies, delta.policies, policy_id, self._policy(policy_id))
        for group_id in sorted(self._dirty_groups):
            _settle(done.groups, delta.groups, group_id, self._group(group_id))
        for key in sorted(self._dirty_endpoints):
            _settle(done.endpoints, delta.endpoints, key, given.endpoints.get(key))
        if given.host_interfaces or done.host_interfaces or self.troubles:
            self._bind(delta)
        for address in sorted(self._dirty_addresses):
            self._flush_address(address, delta)
        if given.settings != done.settings:
            done.settings = delta.settings = given.settings
        if (speaker := self._speaker()) != done.bgp:
            done.bgp = delta.bgp = speaker
        done.revision = given.revision
        for dirty in (self._dirty_sets, self._dirty_policies, self._dirty_groups, self._dirty_endpoints,
                      self._dirty_addresses):
            dirty.clear()
        return delta

    def _bind(self, delta: Delta) -> None:
        binding = bind(self._given.host_interfaces, self._interfaces, self.workloads())
        self.troubles = binding.troubles
        done = self._done.host_interfaces
        for key in sorted(binding.bound.keys() | done.keys()):
            _settle(done, delta.host_interfaces, key, binding.bound.get(key))

    def _flush_set(self, set_id: SetId, delta: Delta) -> None:
        shown, working = self._done.sets.get(set_id), self._sets.get(set_id)
        fresh = working is not None and working.fresh
        change = working.settle() if working is not None else None
        if working is not None and working.present:
            if fresh:
                delta.sets[set_id] = self._done.sets[set_id] = working.value()
                self._stale.discard(set_id)
            elif change is not None:
                delta.sets[set_id] = change
                self._stale.add(set_id)
            return
        self._sets.pop(set_id, None)
        self._stale.discard(set_id)
        stand_in = self._stand_in(set_id)
        _put(self._done.sets, set_id, stand_in)
        if stand_in is not None and type(stand_in) is type(shown):
            if change is not None:
                delta.sets[set_id] = change
        elif stand_in is not shown:
            delta.sets[set_id] = stand_in

    def _flush_address(self, address: Cidr, delta: Delta) -> None:
        """Its route and neighbours: those of the endpoint with the smallest key that has it. To a floating address no
        packet is ever forwarded, for it is translated before; its route tells people where it leads."""
        own = self._holders.users(address)
        holders = own or self._floating.users(address)
        route, neighbour = None, None
        if holders and (self._given.settings.ipv6 or version_of(address) == 4):
            endpoint = self._given.endpoints[min(holders)]
            route = Route(destination=address, kind=RouteKind.DEVICE, interface=endpoint.interface)
            if endpoint.mac and own:
                neighbour = Neighbour(
                    address=address.partition("/")[0], interface=endpoint.interface, mac=endpoint.mac)
        old = self._done.routes.get(address)
        _settle(self._done.routes, delta.routes, address, route)
        keys = {_neighbour_key(found) for found in (old, route) if found is not None}
        for key in sorted(keys):
            wanted = neighbour if route is not None and key == _neighbour_key(route) else None
            _settle(self._done.neighbours, delta.neighbours, key, wanted)

    def _speaker(self) -> BgpSpeaker | None:
        """The server's, and what only this host knows: floating addresses are announced from where their workload is,
        one by one, for they lie in no block of anybody."""
        speaker = self._given.bgp
        if speaker is None:
            return None
        told = {origin.prefix for origin in speaker.originate}
        more = tuple(StaticOrigin(prefix=address) for address in sorted(self._floating.named)
                     if address not in told and (self._given.settings.ipv6 or version_of(address) == 4))
        return msgspec.structs.replace(speaker, originate=speaker.originate + more) if more else speaker

    def _has_set(self, set_id: SetId) -> bool:
        return set_id in self._sets and self._sets[set_id].present

    def _stand_in(self, set_id: SetId) -> AnySet | None:
        """An empty set, if a policy needs one."""
        for policy_id in sorted(self._set_users.users(set_id)):
            for rule in _rules(self._given.policies[policy_id]):
                for match in (rule.source, rule.destination):
                    if set_id in match.sets:
                        return AddressSet(id=set_id)
                    if set_id in match.named_ports:
                        return PortSet(id=set_id)
        return None

    def _policy(self, policy_id: PolicyId) -> Policy | None:
        """The policy, or one that denies in its place."""
        found = self._given.policies.get(policy_id)
        if found is None:
            if not self._policy_users.users(policy_id):
                return None
            key = resource_key(policy_id)
            sort = "profile" if key.kind == "Profile" else "policy"
            return denying(key, "", _BOTH, f"missing {sort} {key.name}")
        for set_id in _indispensable(found):
            if not self._has_set(set_id):
                return denying(resource_key(policy_id), _tier(found), _BOTH, f"missing set {set_id}")
        return worded(found, self._given.settings.log_prefix)

    def _group(self, group_id: GroupId) -> Group | None:
        """The group, or one that denies in its place."""
        found = self._given.groups.get(group_id)
        users = self._group_users.users(group_id)
        if found is not None or not users:
            return found
        inwards = any(group_id in _inward_groups(self._endpoint(key)) for key in users)
        return Group(id=group_id, direction=Direction.INGRESS if inwards else Direction.EGRESS)

    def _endpoint(self, key: EndpointKey) -> Endpoint | HostInterface:
        return self._given.endpoints.get(key) or self._given.host_interfaces[key]


def _put(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _settle(done: dict[K, V], changes: dict[K, V | None], key: K, value: V | None) -> None:
    if done.get(key) != value:
        _put(done, key, value)
        changes[key] = value


def _rules(policy: Policy | None) -> tuple[Rule, ...]:
    return policy.ingress + policy.egress if policy is not None else ()


def _sets(policy: Policy | None) -> Iterator[SetId]:
    for rule in _rules(policy):
        for match in (rule.source, rule.destination):
            yield from match.sets
            yield from match.named_ports
    yield from _indispensable(policy)


def _indispensable(policy: Policy | None) -> Iterator[SetId]:
    """Sets without which the policy might let through what it does not allow, if they were empty."""
    for rule in _rules(policy):
        for match in (rule.source, rule.destination):
            yield from match.not_sets
            yield from match.not_named_ports
            if rule.action in (Action.DENY, Action.PASS):
                yield from match.sets
                yield from match.named_ports


def _tier(policy: Policy) -> str:
    return next((rule.origin.tier for rule in _rules(policy)), "")


def _policies(group: Group | None) -> Iterable[PolicyId]:
    if group is None:
        return ()
    return [*(policy for stage in group.stages for policy in stage.policies), *group.profiles]


def _groups(endpoint: Endpoint | HostInterface | None) -> Iterable[GroupId]:
    if endpoint is None:
        return ()
    outward = [endpoint.egress]
    if isinstance(endpoint, HostInterface):
        outward += [endpoint.forward_egress, endpoint.untracked_egress]
    return filter(None, (*_inward_groups(endpoint), *outward))


def _inward_groups(endpoint: Endpoint | HostInterface) -> Iterable[GroupId]:
    if isinstance(endpoint, HostInterface):
        return endpoint.ingress, endpoint.forward_ingress, endpoint.untracked_ingress, endpoint.pre_dnat
    return (endpoint.ingress,)


def _external(endpoint: Endpoint | None, settings: Settings) -> set[Cidr]:
    """Its floating addresses, if any are in force."""
    if endpoint is None or not settings.floating_addresses:
        return set()
    return {host_cidr(external) for external, _ in endpoint.nat}


def _neighbour_key(route: Route) -> str:
    return f"{route.destination.partition('/')[0]}%{route.interface}"
