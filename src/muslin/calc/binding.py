"""Which interface of the host is which host endpoint.

A host endpoint says its interface by name, as `*`, or only by addresses; which interface has them, nobody but the host
knows, and it may change. Two host endpoints may mean the same interface, by name or by address: then the one with the
smaller key has it, as in Calico, and the other is told.

    by name       that name, whether such an interface is there or not: its rules wait for it
    by address    every interface that has one of its addresses and that no smaller key covers
    *             one for all that are left

A workload's interface is guarded by the workload's policy, never by a host endpoint. Output depends on nothing but who
is there now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from muslin.intent import ALL_INTERFACES, EndpointKey, EndpointState, HostInterface

Interfaces = Mapping[str, frozenset[str]]
"""Name -> its addresses, without length, of the interfaces that are there."""


@dataclass(slots=True)
class Binding:
    """`bound`: each with the name of its interface, no two with the same; a host endpoint that covers several stands
    there several times, see `also`. `troubles`: what is to be said of a host
    endpoint, bound or not."""

    bound: dict[EndpointKey, HostInterface] = field(default_factory=dict)
    troubles: dict[EndpointKey, EndpointState] = field(default_factory=dict)
    _owners: dict[str, EndpointKey] = field(default_factory=dict)

    def owner(self, interface: str) -> EndpointKey | None:
        return self._owners.get(interface)

    def take(self, given: HostInterface, interface: str) -> None:
        key = given.key if given.key not in self.bound else also(given.key, interface)
        self._owners[interface] = given.key
        self.bound[key] = msgspec.structs.replace(given, key=key, interface=interface)

    def pending(self, key: EndpointKey, why: str) -> None:
        self.troubles[key] = EndpointState(state="pending", message=why)

    def error(self, key: EndpointKey, why: str) -> None:
        self.troubles[key] = EndpointState(state="error", message=why)


def also(key: EndpointKey, interface: str) -> EndpointKey:
    """What a host endpoint is called at every interface but its first. No name of a resource has an @."""
    return EndpointKey(f"{key}@{interface}")


def bind(
    given: Mapping[EndpointKey, HostInterface], there: Interfaces, is_workload: Callable[[str], bool]
) -> Binding:
    """`is_workload`: is an interface of this name a workload's?"""
    binding = Binding()
    homes: dict[str, list[str]] = {}
    for name in sorted(there):
        if not is_workload(name):
            for address in there[name]:
                homes.setdefault(address, []).append(name)
    for key in sorted(given):
        if given[key].interface:
            _by_name(binding, given[key], there, is_workload)
        else:
            _by_address(binding, given[key], homes)
    return binding


def _by_name(
    binding: Binding, given: HostInterface, there: Interfaces, is_workload: Callable[[str], bool]
) -> None:
    name = given.interface
    if name != ALL_INTERFACES and is_workload(name):
        binding.error(given.key, f"{name} is a workload's interface: what guards it is the policy of its "
                                 "WorkloadEndpoint; name an interface of the host")
    elif (owner := binding.owner(name)) is not None:
        binding.error(given.key, f"{_shown(name)} covered by {owner} already; it guards nothing")
    else:
        binding.take(given, name)
        if name != ALL_INTERFACES and name not in there:
            binding.pending(given.key, f"interface {name} is not there yet; its rules wait for it")


def _by_address(binding: Binding, given: HostInterface, homes: Mapping[str, list[str]]) -> None:
    addresses = [address.partition("/")[0] for address in given.addresses]
    candidates = list(dict.fromkeys(name for address in addresses for name in homes.get(address, ())))
    free = [name for name in candidates if binding.owner(name) is None]
    if not candidates:
        binding.pending(given.key, f"no interface has {' or '.join(addresses)}")
    elif not free:
        owner = binding.owner(candidates[0])
        binding.error(given.key, f"{candidates[0]} is covered by {owner} already; it guards nothing")
    else:
        for name in free:
            binding.take(given, name)


def _shown(name: str) -> str:
    return "all interfaces are" if name == ALL_INTERFACES else f"{name} is"
