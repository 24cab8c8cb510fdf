"""Who can be selected, and the classes that spare us from asking each one.

A cluster has a hundred thousand endpoints and a few thousand distinct label sets. Selectors are matched against
classes only; a member knows its class and the little that its own host needs of it. There are as many members as
endpoints, so a member keeps no resource: only slots, with texts shared where many members say the same.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

import msgspec

from muslin.intent import EndpointKey, Published, Qos
from muslin.net import Cidr

if TYPE_CHECKING:
    from muslin.calc.groups import Groups
    from muslin.calc.selectors import Entry

NamedPort = tuple[str, int, int]
"""(name, protocol number, port)"""


class Sort(Enum):
    """What a member is, and so which policies can meet it: none ever meets a network set."""

    WORKLOAD = auto()
    HOST = auto()
    NETWORK_SET = auto()


class LabelClass:
    """Members of one sort with equal own labels and equal profiles, therefore equal effective labels.

    `labels` are the effective ones. `entries`: the selectors that match. `groups`: the policy lists, None until
    somebody asks; see `groups.Groups`.
    """

    __slots__ = ("entries", "groups", "key", "labels", "members", "own", "profiles", "sort", "workload")

    def __init__(self, key: ClassKey, own: dict[str, str]) -> None:
        self.key = key
        self.sort, self.profiles, _ = key
        self.workload = self.sort is Sort.WORKLOAD
        self.own = own
        self.labels = own
        self.members: dict[EndpointKey, Member] = {}
        self.entries: set[Entry] = set()
        self.groups: Groups | None = None


ClassKey = tuple[Sort, tuple[str, ...], tuple[tuple[str, str], ...]]
"""(sort, profiles, sorted own labels)"""


class Member(msgspec.Struct, eq=False, gc=False):
    """A workload endpoint, a host endpoint or a network set.

    `claims`: the addresses or prefixes it says it has. `held`: those it has; fewer when another workload of the
    same host has the better right to an address or to the interface, see `places`. `interface` of a host endpoint may
    be `*`, or "": then only its host knows.
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
    published: tuple[Published, ...] = ()
    gateway_v6: str = ""
    qos: Qos | None = None
    held: tuple[Cidr, ...] = ()
