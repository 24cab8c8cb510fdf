"""Who depends on whom: which endpoint has an interface, and who names whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Generic, TypeVar

from muslin.intent import Endpoint, EndpointKey

Used = TypeVar("Used")
User = TypeVar("User")
Claimant = TypeVar("Claimant", bound=str)


class Users(Generic[Used, User]):
    """Who names whom, readable from the side of the named."""

    def __init__(self) -> None:
        self._uses: dict[User, frozenset[Used]] = {}
        self._users: dict[Used, set[User]] = {}

    def put(self, user: User, uses: Iterable[Used]) -> None:
        for used in self._uses.pop(user, frozenset()):
            self._users[used].discard(user)
            if not self._users[used]:
                del self._users[used]
        if now := frozenset(uses):
            self._uses[user] = now
            for used in now:
                self._users.setdefault(used, set()).add(user)

    @property
    def users(self) -> Set[User]:
        return self._uses.keys()

    def by(self, user: User) -> frozenset[Used]:
        return self._uses.get(user, frozenset())

    def of(self, used: Used) -> frozenset[User]:
        return frozenset(self._users.get(used, ()))


class Interfaces:
    """An interface belongs to one endpoint. Two may claim it, after a rename or in a race of two writers: then the
    smaller key has it, whoever came first, and the other has nothing until that one goes."""

    def __init__(self) -> None:
        self._interface: dict[EndpointKey, str] = {}
        self._claimants: dict[str, set[EndpointKey]] = {}

    @property
    def endpoints(self) -> Set[EndpointKey]:
        return self._interface.keys()

    def holds(self, key: EndpointKey) -> bool:
        """Is it there, and its interface its own?"""
        interface = self._interface.get(key)
        return interface is not None and key == min(self._claimants[interface])

    def update(self, endpoints: Mapping[EndpointKey, Endpoint | None]) -> set[EndpointKey]:
        """Takes changes over. The endpoints that may stand otherwise now, the changed ones included."""
        touched = set(endpoints)
        for key, endpoint in endpoints.items():
            before = self._interface.pop(key, None)
            if before is not None:
                self._claimants[before].discard(key)
                touched |= self._claimants[before]
                if not self._claimants[before]:
                    del self._claimants[before]
            if endpoint is not None:
                self._interface[key] = endpoint.interface
                claimants = self._claimants.setdefault(endpoint.interface, set())
                touched |= claimants
                claimants.add(key)
        return touched


class Claims(Generic[Used, Claimant]):
    """Things that one of several claimants has: the smallest, whoever came first."""

    def __init__(self) -> None:
        self._users: Users[Used, Claimant] = Users()

    def update(self, claims: Mapping[Claimant, Iterable[Used]]) -> set[Claimant]:
        """Takes changes over. The claimants that may stand otherwise now, the changed ones included."""
        touched = set(claims)
        for claimant, things in claims.items():
            before = self._users.by(claimant)
            self._users.put(claimant, things)
            for thing in before ^ self._users.by(claimant):
                touched |= self._users.of(thing)
        return touched

    def held(self, claimant: Claimant) -> frozenset[Used]:
        """What the claimant has."""
        return frozenset(thing for thing in self._users.by(claimant) if claimant == min(self._users.of(thing)))
