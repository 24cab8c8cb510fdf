"""Who holds which address, and which interface of a host.

Two endpoints may share an address on purpose: anycast, or a workload that is moving, stand on two hosts. On ONE host it
is a mistake: the kernel has one route and one anti-spoofing entry for it, and if both counted, one would speak with
the other's labels. The same goes for an interface. So, on one host, the endpoint with the smaller key wins; the other
is as if it had not claimed it, and is reported.

    hosts     host -> interface -> winner         queues   (host, interface) -> those that wait for it
    holders   address -> whoever holds it         waiting  address -> those that claim and do not hold it

Nearly always nobody waits, and then a claim is held at once. Otherwise the rights of all that are involved are worked
out anew from the claims alone, so that the result depends on who is there, never on who came first.

Law for listeners: `before` is called with every address that a member is about to gain or lose, while the old state is
still true.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from muslin.calc.members import Member
from muslin.net import Cidr

Before = Callable[[Member, tuple[Cidr, ...]], None]


class Places:
    def __init__(self, before: Before, changed: Callable[[Member], None]) -> None:
        self._before = before
        self._changed = changed
        self._holders: dict[Cidr, Member | tuple[Member, ...]] = {}
        self._waiting: dict[Cidr, set[Member]] = {}
        self._queues: dict[tuple[str, str], set[Member]] = {}
        self._hosts: dict[str, dict[str, Member]] = {}

    def holders(self, address: Cidr) -> tuple[Member, ...]:
        found = self._holders.get(address)
        if found is None:
            return ()
        return found if isinstance(found, tuple) else (found,)

    def at(self, host: str) -> Collection[Member]:
        """Workloads that have an interface of this host."""
        return self._hosts.get(host, {}).values()

    def is_local(self, member: Member) -> bool:
        """Does its interface belong to it?"""
        return self._hosts.get(member.host, {}).get(member.interface) is member

    def rivals(self, member: Member) -> tuple[Member | None, dict[Cidr, Member]]:
        """(who has its interface instead, who has an address that it claims instead)"""
        taken = None
        if _placed(member) and not self.is_local(member):
            taken = self._hosts[member.host][member.interface]
        lost: dict[Cidr, Member] = {}
        for address in set(member.claims) - set(member.held):
            for holder in self.holders(address):
                if holder.host == member.host and holder.label_class.workload:
                    lost[address] = holder
        return taken, lost

    def add(self, member: Member) -> None:
        """Enter a member that holds nothing yet."""
        involved = self._enter(member)
        holders = self._holders
        if not involved and not any(address in holders or address in self._waiting for address in member.claims):
            self._before(member, member.claims)
            for address in member.claims:
                holders[address] = member
            member.held = member.claims
            return
        for address in member.claims:
            self._waiting.setdefault(address, set()).add(member)
        self._judge({member} | involved)

    def remove(self, member: Member) -> None:
        """Take out a member, and let those move up that waited for what it held."""
        held = member.held
        self._hold(member, ())
        for address in member.claims:
            self._stop_waiting(address, member)
        involved = self._leave(member)
        for address in held:
            involved |= self._waiting.get(address, set())
        if involved:
            self._judge(involved)

    def statistics(self) -> dict[str, int]:
        return {"addresses": len(self._holders), "rivals": len(self._waiting) + len(self._queues),
                "places": len(self._hosts)}

    def _enter(self, member: Member) -> set[Member]:
        """Ask for the interface. Returns everybody else whose right to an interface changed, or must be looked at."""
        if not _placed(member):
            return set()
        interfaces = self._hosts.setdefault(member.host, {})
        winner = interfaces.get(member.interface)
        if winner is None:
            interfaces[member.interface] = member
            return set()
        queue = self._queues.setdefault((member.host, member.interface), set())
        if member.key < winner.key:
            interfaces[member.interface] = member
            queue.add(winner)
            return set(queue)
        queue.add(member)
        return {member}

    def _leave(self, member: Member) -> set[Member]:
        if not _placed(member):
            return set()
        slot = (member.host, member.interface)
        queue = self._queues.get(slot)
        interfaces = self._hosts[member.host]
        if interfaces[member.interface] is not member:
            assert queue is not None
            queue.discard(member)
        elif queue:
            heir = min(queue, key=lambda waiter: waiter.key)
            queue.discard(heir)
            interfaces[member.interface] = heir
            if not queue:
                del self._queues[slot]
            return {heir, *queue}
        else:
            del interfaces[member.interface]
            if not interfaces:
                del self._hosts[member.host]
        if queue is not None and not queue:
            self._queues.pop(slot, None)
        return set()

    def _judge(self, involved: set[Member]) -> None:
        """Work out anew what these hold, and whoever else claims an address of theirs."""
        affected = set(involved)
        for member in involved:
            for address in member.claims:
                affected.update(self._claimants(address))
        for member in sorted(affected, key=lambda member: member.key):
            self._hold(member, self._rightful(member))
            self._changed(member)

    def _rightful(self, member: Member) -> tuple[Cidr, ...]:
        if not member.label_class.workload:
            return member.claims
        if not self._has_interface(member):
            return ()
        return tuple(address for address in member.claims if not any(
            rival.host == member.host and rival.key < member.key and rival.label_class.workload
            and self._has_interface(rival) for rival in self._claimants(address)
        ))

    def _has_interface(self, member: Member) -> bool:
        return not _placed(member) or self.is_local(member)

    def _claimants(self, address: Cidr) -> Iterable[Member]:
        return (*self.holders(address), *self._waiting.get(address, ()))

    def _hold(self, member: Member, rightful: tuple[Cidr, ...]) -> None:
        """From now on it holds exactly these of its claims."""
        if rightful == member.held:
            return
        lost = tuple(address for address in member.held if address not in rightful)
        gained = tuple(address for address in rightful if address not in member.held)
        self._before(member, lost + gained)
        for address in lost:
            self._let_go(address, member)
            self._waiting.setdefault(address, set()).add(member)
        for address in gained:
            self._take(address, member)
            self._stop_waiting(address, member)
        member.held = rightful

    def _take(self, address: Cidr, member: Member) -> None:
        found = self._holders.get(address)
        if found is None:
            self._holders[address] = member
        else:
            self._holders[address] = (*found, member) if isinstance(found, tuple) else (found, member)

    def _let_go(self, address: Cidr, member: Member) -> None:
        left = tuple(holder for holder in self.holders(address) if holder is not member)
        if len(left) > 1:
            self._holders[address] = left
        elif left:
            self._holders[address] = left[0]
        else:
            del self._holders[address]

    def _stop_waiting(self, address: Cidr, member: Member) -> None:
        waiters = self._waiting.get(address)
        if waiters is not None:
            waiters.discard(member)
            if not waiters:
                del self._waiting[address]


def _placed(member: Member) -> bool:
    """Does it stand at an interface of a host, which only one can have? Host endpoints describe, they do not own."""
    return member.label_class.workload and bool(member.host)
