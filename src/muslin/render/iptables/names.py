"""What things are called in the kernel: chains of at most 28 letters, sets of at most 31.

All begin with `mus`, which is how a restarted agent knows them; whoever else uses these prefixes loses what they name
so. The API's names do not fit, so policies get a hash, and the rule that leads to a chain says in its comment whose it
is. Names of sets carry what they hold: a set never changes its kind under its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from muslin.intent import Direction, EndpointKey, GroupId, PolicyId, SetId
from muslin.net import Cidr
from muslin.render.iptables.words import Table
from muslin.render.nft.names import usable_interface

CHAIN = "mus-"
SET = re.compile(r"mus[46][a-z]+(-.*)?")
"""Names of our sets: `mus4n-...`, `mus6from`."""

ROLES = ("in", "out", "pre", "rin", "rout")
"""In which a host endpoint can have a chain."""
_PLAIN = re.compile(r"[A-Za-z0-9]{1,16}")
_ENDS = {Direction.INGRESS: "i", Direction.EGRESS: "o"}

ALLOW, PASS = "mus-allow", "mus-pass"
FROM, TO = "mus-from", "mus-to"


def is_our_set(name: str) -> bool:
    return SET.fullmatch(name) is not None


def base(builtin: str) -> str:
    """Our chain at that place of a table: `mus-FORWARD`."""
    return f"{CHAIN}{builtin}"


def policy_chain(policy: PolicyId, direction: Direction) -> str:
    return f"{CHAIN}p{_ENDS[direction]}-{digest(policy)}"


def group_chain(group: GroupId, direction: Direction) -> str:
    return f"{CHAIN}g{_ENDS[direction]}-{short(group)}"


def stage_chain(group: GroupId, direction: Direction, stage: int) -> str:
    return f"{CHAIN}t{_ENDS[direction]}-{short(group)}-{stage}"


def host_chain(role: str, key: EndpointKey) -> str:
    """Of a host endpoint, in one of the roles: `in`, `out`, `pre`, `rin`, `rout`."""
    return f"{CHAIN}h-{role}-{digest(key)[:12]}"


def host_set(set_id: SetId, family: int) -> str:
    return f"mus{family}n-{short(set_id)}"


def net_set(set_id: SetId, family: int) -> str:
    """Prefixes lie with the single addresses: a hash:net holds both."""
    return host_set(set_id, family)


def port_set(set_id: SetId, family: int) -> str:
    return f"mus{family}p-{short(set_id)}"


def list_set(nets: Iterable[Cidr], family: int) -> str:
    """The prefixes of a rule that lists several."""
    return f"mus{family}l-{digest(' '.join(sorted(nets)))}"


def senders(group: GroupId, family: int) -> str:
    """(address, interface) of the workloads with that egress group."""
    return f"mus{family}f-{short(group)}"


def receivers(group: GroupId, family: int) -> str:
    """(address, interface) of the workloads with that ingress group."""
    return f"mus{family}t-{short(group)}"


def behind(group: GroupId, family: int, part: int) -> str:
    """(anything, interface) of the workloads with that ingress group, part by part."""
    return f"mus{family}b-{short(group)}-{part}"


def sources(family: int) -> str:
    """(address, interface): who may send what from where."""
    return f"mus{family}from"


def cut(family: int) -> str:
    """Ends of flows that policy has ended."""
    return f"mus{family}cut"


def masqueraded(family: int) -> str:
    return f"mus{family}masquerade"


def pools(family: int) -> str:
    return f"mus{family}pools"


def counter(what: str, interface: str, rate: int, burst: int) -> str:
    """Of packets: hashlimit takes 15 letters, and keeps the limit that it began with under a name."""
    return f"mus{what}{digest(f'{interface} {rate} {burst}')[:11]}"


def usable(interface: str) -> bool:
    """Can iptables name this interface, and no other?"""
    return usable_interface(interface) and not interface.endswith("+")


def short(text: str) -> str:
    """Ids of groups and sets are short hashes already; anything else becomes one."""
    return text if _PLAIN.fullmatch(text) else digest(text)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


TABLES = (Table.RAW, Table.MANGLE, Table.NAT, Table.FILTER)
