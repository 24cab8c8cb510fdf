"""Which names a container may ask for, and what they lead to.

Docker's rule: a container sees the containers of the networks that it is in, by their name, their aliases and the short
form of their id; `name.NETWORK` asks one network. A name that several have leads to all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Network = tuple[str, str]
"""(realm: the network's name on all hosts, the name that it has on this one)."""


@dataclass(slots=True)
class Realm:
    """One network's names. `holders`: key of an endpoint -> its names and addresses."""

    holders: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)
    by_name: dict[str, dict[str, None]] = field(default_factory=dict)
    by_address: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, names: Iterable[str], addresses: Iterable[str]) -> None:
        self.drop(key)
        held = tuple(name.lower() for name in names), tuple(addresses)
        self.holders[key] = held
        for name in held[0]:
            self.by_name.setdefault(name, {})[key] = None
        self.by_address.update(dict.fromkeys(held[1], key))

    def drop(self, key: str) -> None:
        names, addresses = self.holders.pop(key, ((), ()))
        for name in names:
            holders = self.by_name.get(name, {})
            holders.pop(key, None)
            if not holders:
                self.by_name.pop(name, None)
        for address in addresses:
            if self.by_address.get(address) == key:
                del self.by_address[address]

    def addresses(self, name: str) -> list[str]:
        return [address for key in self.by_name.get(name, ()) for address in self.holders[key][1]]

    def name(self, address: str) -> str:
        """The first name of who has it, "" when nobody does."""
        names = self.holders[self.by_address[address]][0] if address in self.by_address else ()
        return names[0] if names else ""


class Names:
    def __init__(self) -> None:
        self.realms: dict[str, Realm] = {}

    def realm(self, name: str) -> Realm:
        return self.realms.setdefault(name, Realm())

    def addresses(self, networks: Sequence[Network], name: str) -> list[str]:
        """For who is in `networks`; none when nobody there is called so."""
        for realm, _ in networks:
            if realm in self.realms and (found := self.realms[realm].addresses(name)):
                return found
        for realm, local in networks:
            for suffix in (f".{local.lower()}", f".{realm}"):
                if realm in self.realms and name.endswith(suffix):
                    found = self.realms[realm].addresses(name.removesuffix(suffix))
                    if found:
                        return found
        return []

    def name(self, networks: Sequence[Network], address: str) -> str:
        """`NAME.NETWORK` of who has the address, "" when nobody there has."""
        for realm, local in networks:
            if realm in self.realms and (found := self.realms[realm].name(address)):
                return f"{found}.{local}"
        return ""
