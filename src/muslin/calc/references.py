"""Who names whom, looked up backwards: the policies that use a set, the endpoints that use a group."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Set
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
U = TypeVar("U", bound=Hashable)


class References(Generic[K, U]):
    def __init__(self) -> None:
        self._users: dict[K, set[U]] = {}

    def users(self, key: K) -> set[U]:
        return self._users.get(key, set())

    @property
    def named(self) -> Set[K]:
        """All that somebody names."""
        return self._users.keys()

    def replace(self, user: U, old: Iterable[K], new: Iterable[K]) -> None:
        """`user` names `new` instead of `old`."""
        for key in old:
            users = self._users.get(key)
            if users is not None:
                users.discard(user)
                if not users:
                    del self._users[key]
        for key in new:
            self._users.setdefault(key, set()).add(user)
