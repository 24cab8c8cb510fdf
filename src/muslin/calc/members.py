"""Who can be selected, and the classes that spare us from asking each one.

A cluster has a hundred thousand endpoints and a few thousand distinct label sets. Selectors are matched against
classes only; a member knows its class and the little that its own host needs of it. There are as many members as
endpoints, so a member keeps no resource: only slots, with texts shared where many members say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from muslin.intent import EndpointKey, Group
from muslin.net import Cidr

if TYPE_CHECKING:
    from muslin.calc.selectors import Entry

NamedPort = tuple[str, int, int]
"""(name, protocol number, port)"""


class LabelClass:
    """Members with equal own labels and equal profiles, therefore equal effective labels.

    `labels` are the effective ones. `entries`: the selectors that match. `groups`: ingress and egress policy lists,
    None until somebody asks. `workload` False: network sets and host endpoints, which get no workload policy.
    """

    __slots__ = ("entries", "groups", "key", "labels", "members", "own", "profiles", "workload")

    def __init__(self, key: ClassKey, own: dict[str, str]) -> None:
        self.key = key
        self.workload, self.profiles, _ = key
        self.own = own
        self.labels = own
        self.members: dict[EndpointKey, Member] = {}
        self.entries: set[Entry] = set()
        self.groups: tuple[Group, Group] | None = None


ClassKey = tuple[bool, tuple[str, ...], tuple[tuple[str, str], ...]]
"""(workload, profiles, sorted own labels)"""


class Member(msgspec.Struct, eq=False, gc=False):
    """A workload endpoint, a host endpoint or a network set.

    `claims`: the addresses or prefixes it says it has. `held`: those it has; fewer when another workload of the
    same host has the better right to an address or to the interface, see `places`.
    Not tracked by the cyclic collector: a member leaves its class by hand.
    """

    key: EndpointKey
    label_class: LabelClass
    claims: tuple[Cidr, ...]
    host: str = ""
    interface: str = ""
    mac: str = ""
    ports: tuple[NamedPort, ...] = ()
    spoofable: tuple[Cidr, ...] = ()
    nat: tuple[tuple[str, str], ...] = ()
    held: tuple[Cidr, ...] = ()
