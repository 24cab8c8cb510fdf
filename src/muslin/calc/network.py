"""What a host must know besides policy: its settings and its BGP, from objects that concern all hosts.

These objects change rarely and touch every host when they do, except for address blocks, which change with every
hundredth workload and touch their owner and those that borrow from them. Of a block only that is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from muslin.calc import auto_host_endpoints
from muslin.calc.bgp import Fabric
from muslin.calc.faults import Faults
from muslin.calc.illegible import Illegible
from muslin.calc.settings import Surroundings, addresses_of, faults, merged, salvaged, settings, sorted_pools
from muslin.intent import BgpSpeaker, Settings
from muslin.model.cluster_configuration import ClusterConfiguration, ClusterConfigurationSpec
from muslin.model.controllers import KubeControllersConfiguration
from muslin.model.felix import FelixConfiguration
from muslin.model.ipam import Block, BlockAttribute
from muslin.model.meta import Resource, ResourceKey
from muslin.model.network import BGPConfiguration, BGPFilter, BGPPeer, IPPool, Node
from muslin.net import Cidr, contains, parse_cidr

R = TypeVar("R")

_NO_CHOICES = ClusterConfigurationSpec()


class Network:
    def __init__(self, notes: Faults) -> None:
        self._notes = notes
        self._nodes: dict[str, Node] = {}
        self._pools: dict[str, IPPool] = {}
        self._configurations: dict[str, BGPConfiguration] = {}
        self._peers: dict[str, BGPPeer] = {}
        self._filters: dict[str, BGPFilter] = {}
        self._felix: dict[str, FelixConfiguration] = {}
        self._cluster = _NO_CHOICES
        self._blocks: dict[str, Block] = {}
        self._blocks_of: dict[str, dict[str, Block]] = {}
        self._fabric: Fabric | None = None
        self._fabric_faults: set[ResourceKey] = set()
        self._pool_lists: tuple[tuple[Cidr, ...], tuple[Cidr, ...]] = ((), ())
        self._hosts_addresses: tuple[Cidr, ...] | None = None
        self.settings_changed = False
        """Settings of any host may differ from those of the last flush."""
        self.bgp_changed = False
        """The same for speakers."""
        self.changed_hosts: set[str] = set()
        """Hosts whose settings or speaker may differ, though those of the others do not."""

    def update(self, key: ResourceKey, value: Resource | Block | Illegible | None) -> None:
        """Take note of one object; what does not decode counts as absent and is reported."""
        self._notes.note(key, "object", value.absent if isinstance(value, Illegible) else None)
        resource = None if isinstance(value, Illegible) else value
        match key.kind:
            case "IPAMBlock":
                self._update_block(key, resource if isinstance(resource, Block) else None)
            case "Node":
                self._update_node(key, resource if isinstance(resource, Node) else None)
            case "IPPool":
                self._put(self._pools, key, resource if isinstance(resource, IPPool) else None)
                self._read_pools(key)
                self.settings_changed = True
            case "BGPConfiguration":
                self._put(self._configurations, key, resource if isinstance(resource, BGPConfiguration) else None)
            case "BGPPeer":
                self._put(self._peers, key, resource if isinstance(resource, BGPPeer) else None)
            case "BGPFilter":
                self._put(self._filters, key, resource if isinstance(resource, BGPFilter) else None)
            case "KubeControllersConfiguration":
                self._note_controllers(key, value)
            case "ClusterConfiguration" if key.name == "default":
                self._cluster = resource.spec if isinstance(resource, ClusterConfiguration) else _NO_CHOICES
                self.settings_changed = True
            case "FelixConfiguration":
                self._update_felix(key, value if isinstance(value, FelixConfiguration | Illegible) else None)

    def settings(self, host: str) -> Settings:
        node = self._nodes.get(host)
        specs = merged(self._felix, host, node.metadata.labels if node is not None else {})
        return settings(specs, Surroundings(*self._pool_lists, self._addresses_of_hosts(), self._cluster))

    def _addresses_of_hosts(self) -> tuple[Cidr, ...]:
        if self._hosts_addresses is None:
            self._hosts_addresses = sorted_pools(
                address for node in self._nodes.values() for address in addresses_of(node))
        return self._hosts_addresses

    @property
    def nodes(self) -> Mapping[str, Node]:
        return self._nodes

    def block_of(self, address: Cidr) -> Block | None:
        return next((block for block in self._blocks.values() if contains(Cidr(block.cidr), address)), None)

    def speaker(self, host: str) -> BgpSpeaker | None:
        return self._cluster_bgp().speaker(host, self._blocks_of.get(host, {}).values())

    def concerns(self, host: str) -> tuple[bool, bool]:
        """Must the host's (settings, speaker) be looked at?"""
        changed = host in self.changed_hosts
        return self.settings_changed or changed, self.bgp_changed or changed

    def clear(self) -> None:
        """All hosts have been looked at."""
        self.settings_changed = self.bgp_changed = False
        self.changed_hosts.clear()

    def settle(self) -> None:
        """Report what is wrong with the BGP objects as they are now."""
        found = self._cluster_bgp().faults
        for key in self._fabric_faults - set(found):
            self._notes.note(key, "bgp", None)
        for key, message in found.items():
            self._notes.note(key, "bgp", message)
        self._fabric_faults = set(found)

    def statistics(self) -> dict[str, int]:
        return {"nodes": len(self._nodes), "pools": len(self._pools), "blocks": len(self._blocks),
                "blocks of hosts": len(self._blocks_of), "configurations": len(self._configurations) + len(self._felix)}

    def _cluster_bgp(self) -> Fabric:
        if self._fabric is None:
            self._fabric = Fabric(self._nodes, self._configurations, self._peers, self._filters,
                                  [self._pools[name] for name in sorted(self._pools)])
        return self._fabric

    def _update_node(self, key: ResourceKey, node: Node | None) -> None:
        """Its labels choose its own settings; its addresses are in those of all, where some configuration asks."""
        before = _addresses(self._nodes.get(key.name))
        if not self._put(self._nodes, key, node):
            return
        self.changed_hosts.add(key.name)
        if _addresses(node) != before:
            self._hosts_addresses = None
            self.settings_changed |= any(found.spec.nat_outgoing_exclusions for found in self._felix.values())

    def _put(self, table: dict[str, R], key: ResourceKey, resource: R | None) -> bool:
        """Does it say anything new?"""
        if table.get(key.name) == resource:
            return False
        if resource is None:
            del table[key.name]
        else:
            table[key.name] = resource
        self._fabric = None
        self.bgp_changed = True
        return True

    def _note_controllers(self, key: ResourceKey, value: object) -> None:
        """What it asks for is done by the server, see `calc.auto_host_endpoints`."""
        if isinstance(value, KubeControllersConfiguration):
            self._notes.note(key, "object", auto_host_endpoints.faults(value))
        elif isinstance(value, Illegible):
            self._notes.note(key, "object", f"{value.reason}. Until this is mended host endpoints that were made by "
                             "themselves stay as they are")

    def _update_felix(self, key: ResourceKey, value: FelixConfiguration | Illegible | None) -> None:
        if isinstance(value, FelixConfiguration):
            self._notes.note(key, "object", faults(key.name, value))
            self._felix[key.name] = value
        elif value is not None:
            self._felix[key.name] = salvaged(value)
        else:
            self._felix.pop(key.name, None)
        self.settings_changed = True

    def _read_pools(self, key: ResourceKey) -> None:
        pools: dict[Cidr, bool] = {}
        for name in sorted(self._pools):
            spec = self._pools[name].spec
            try:
                cidr = parse_cidr(spec.cidr)
            except ValueError as error:
                if name == key.name:
                    self._notes.note(key, "object", f"spec.cidr: {error}. Until this is mended it is as if it did "
                                     "not exist")
                continue
            pools[cidr] = pools.get(cidr, False) or spec.nat_outgoing
        self._pool_lists = sorted_pools(pools), sorted_pools(cidr for cidr, masquerade in pools.items() if masquerade)

    def _update_block(self, key: ResourceKey, block: Block | None) -> None:
        name = key.name
        new = None if block is None or block.deleted else _thin(block)
        if new is not None:
            try:
                parse_cidr(new.cidr)
            except ValueError as error:
                self._notes.note(key, "object", f"cidr: {error}. Until this is mended it is as if it did not exist")
                new = None
        old = self._blocks.get(name)
        if old == new:
            return
        if old is not None:
            del self._blocks[name]
            for host in _hosts(old):
                self.changed_hosts.add(host)
                del self._blocks_of[host][name]
                if not self._blocks_of[host]:
                    del self._blocks_of[host]
        if new is not None:
            self._blocks[name] = new
            for host in _hosts(new):
                self.changed_hosts.add(host)
                self._blocks_of.setdefault(host, {})[name] = new


def _addresses(node: Node | None) -> tuple[Cidr, ...]:
    return tuple(addresses_of(node)) if node is not None else ()


def _thin(block: Block) -> Block:
    """The block's owner, and what others hold in it. (A block of one address is announced by whoever holds it.)"""
    single = len(block.allocations) == 1
    nodes = [(attribute.secondary or {}).get("node") if attribute.released_at is None else None
             for attribute in block.attributes]
    told = [node if node and (single or node != block.host) else None for node in nodes]
    if not any(told):
        return Block(cidr=block.cidr, affinity=block.affinity, allocations=(), attributes=())
    kept: list[BlockAttribute] = []
    allocations: list[int | None] = []
    for index in block.allocations:
        node = told[index] if index is not None and index < len(told) else None
        if node is None:
            allocations.append(None)
            continue
        holder = BlockAttribute(secondary={"node": node})
        if holder not in kept:
            kept.append(holder)
        allocations.append(kept.index(holder))
    return Block(cidr=block.cidr, affinity=block.affinity, allocations=tuple(allocations) if kept else (),
                 attributes=tuple(kept))


def _hosts(block: Block) -> set[str]:
    borrowers = {(attribute.secondary or {})["node"] for attribute in block.attributes}
    return borrowers | {block.host} if block.host else borrowers
