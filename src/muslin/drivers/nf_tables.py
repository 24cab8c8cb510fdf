"""One batch of nf_tables messages, committed by the kernel as a whole or not at all.

The kernel works while we send: when `send` returns, the batch is in force or refused, and every refusal waits in our
socket. A question for the generation behind it is the barrier: its answer comes after them, and saves an answer for
each message. The socket stays open: closing one waits until the kernel has freed what the last transactions removed
(20 ms, measured).

Each batch names the generation of the ruleset that the answer behind our last one told. Whoever has written since has
moved it, and the kernel refuses ours, so that ours is one step exactly. The answer to that tells the new one, and we
send again: what we want to change does not depend on theirs, and whether theirs touched our table is looked at
afterwards (agent.firewall; decision 0068).
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import chain

from muslin.drivers.netlink import Netlink, Refusal, attributes
from muslin.drivers.netns import inside, opened
from muslin.errors import Transient
from muslin.render.nft.listing import Listing
from muslin.render.nft.wire import Batch, encoded, reading

_NETFILTER = 12
_GET_GENERATION = 10 << 8 | 16
_GENERATION_ID = 1
_QUESTION = (_GET_GENERATION, 0, bytes(4))
_SEND_BUFFER = 256 << 20
"""A limit, not a reservation: 100,000 members and 20,000 rules are some 10 MB while they are under way."""
_RECEIVE_BUFFER = 8 << 20
"""A refusal takes some hundred bytes, and there may be one for each message."""
_UNKNOWN = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
"""What nfnetlink answers to a subsystem that it does not have."""
_TRIES = 64
_READINGS = 8
_EMPTY = encoded(())


class _Rearranged(Transient):
    """The kernel was making a set larger or smaller while it listed it, and left some out. It does not say so."""


def read(netlink: Netlink) -> Listing | None:
    """Our table, None where there is none. Raises Transient."""
    def taken() -> Listing | None:
        if not is_made(netlink):
            return None
        found = [reading.found_set(body) for _, body in netlink.dump(reading.GET_SETS, reading.OF_TABLE)]
        named = [each for each in found if not each.is_anonymous]
        chains, rules = (_bodies(netlink, reading.GET_CHAINS, reading.INET), _rules(netlink))
        elements = ((each, _bodies(netlink, reading.GET_ELEMENTS, each.question)) for each in named)
        told = reading.listing(chains, rules, elements)
        for each in named:
            if each.count is not None and each.count != len(told.elements[each.name]):
                raise _Rearranged(f"nf_tables lists {len(told.elements[each.name])} of {each.count} in {each.name}")
        return told

    return _undisturbed(netlink, taken)


def is_made(netlink: Netlink) -> bool:
    """Is there a table of ours? Raises Transient."""
    answer = netlink.get(reading.GET_TABLE, reading.OF_TABLE)
    if isinstance(answer, Refusal) and answer.errno != errno.ENOENT:
        raise Transient(f"nf_tables does not tell of our table: {answer}")
    return not isinstance(answer, Refusal)


def counters(netlink: Netlink) -> dict[str, tuple[int, int]]:
    """Comment -> (packets, bytes) of our rules. Raises Transient."""
    found = (reading.found_set(body) for _, body in netlink.dump(reading.GET_SETS, reading.OF_TABLE))
    counting = [each for each in found if each.counted and not each.is_anonymous]
    return reading.counters(_rules(netlink), chain.from_iterable(
        _bodies(netlink, reading.GET_ELEMENTS, each.question) for each in counting))


def _rules(netlink: Netlink) -> list[bytes]:
    return _bodies(netlink, reading.GET_RULES, reading.OF_TABLE)


def _bodies(netlink: Netlink, kind: int, question: bytes) -> list[bytes]:
    return [body for _, body in netlink.dump(kind, question)]


def _undisturbed(netlink: Netlink, read: Callable[[], Listing | None]) -> Listing | None:
    """Nobody wrote while we read one list after another: else we read again."""
    before = _settled(netlink)
    failed: Transient | None = None
    for _ in range(_READINGS):
        try:
            found, failed = read(), None
        except Transient as error:  # a set that goes cannot be read to its end
            found, failed = None, error
        if (after := _settled(netlink)) != before:
            before = after
        elif failed is None:
            return found
        elif not isinstance(failed, _Rearranged):
            raise failed
    raise Transient(f"nf_tables changed during each of {_READINGS} readings: {failed or 'others wrote'}")


def _settled(netlink: Netlink) -> int:
    """The generation when nobody is writing. Whoever is, raises it before anything is in force, and disturbs lists
    that are being read even before that; an empty batch waits until he has finished."""
    refused, answer = netlink.transact(_EMPTY.framed(), _EMPTY.count + 2, _QUESTION)
    if refused:
        raise Transient(f"nf_tables: {refused[0]}")
    return _told(answer)


def asking(netns: str | None) -> Netlink:
    """A socket to the nf_tables of our namespace, or of a named one."""
    if netns is None:
        return Netlink(_NETFILTER, receive_buffer=_RECEIVE_BUFFER)
    with opened(netns) as descriptor, inside(descriptor):
        return Netlink(_NETFILTER, receive_buffer=_RECEIVE_BUFFER)


def is_there(netns: str | None) -> bool:
    """Has this kernel nf_tables at all? Raises Transient."""
    with asking(netns) as netlink:
        answer = netlink.get(_GET_GENERATION, bytes(4))
    if not isinstance(answer, Refusal):
        return True
    if answer.errno in _UNKNOWN:
        return False
    raise Transient(f"nf_tables does not tell its generation: {answer}")


def generation(netlink: Netlink) -> int:
    """The number of the last transaction on the ruleset. Microseconds."""
    answer = netlink.get(_GET_GENERATION, bytes(4))
    if isinstance(answer, Refusal):
        raise Transient(f"nf_tables does not tell its generation: {answer}")
    return _told(answer)


def _told(answer: bytes) -> int:
    """Raises Transient."""
    found = attributes(answer, 4).get(_GENERATION_ID)
    if found is None:
        raise Transient("nf_tables does not tell its generation")
    return int.from_bytes(found, "big")


class Committing:
    """A socket that stays open. Callers wait for each other."""

    def __init__(self, netns: str | None = None) -> None:
        self._netns = netns
        self._netlink = self._opened()
        self._generation: int | None = None
        self._lock = threading.Lock()

    def _opened(self) -> Netlink:
        netlink = asking(self._netns)
        netlink.enlarge_sending(_SEND_BUFFER)
        return netlink

    @property
    def left_at(self) -> int | None:
        """The generation told behind our last batch, None where none was."""
        return self._generation

    def close(self) -> None:
        self._netlink.close()

    def commit(self, batch: Batch) -> list[Refusal]:
        """What the kernel does not take, in order; nothing: the batch is in force. A refusal's position is the number
        of the message, 0 for the batch as a whole. Raises Transient: it could not be sent, or so much of it was refused
        that the answers did not find room."""
        with self._lock:
            for _ in range(_TRIES):
                refused = self._sent(batch)
                if not refused or refused[0].errno != errno.ERESTART:
                    return refused
        raise Transient(f"nf_tables: others changed the ruleset during each of {_TRIES} tries to write ours")

    def _sent(self, batch: Batch) -> list[Refusal]:
        try:
            known = generation(self._netlink) if self._generation is None else self._generation
            self._generation = None
            refused, answer = self._netlink.transact(batch.framed(known), batch.count + 2, _QUESTION)
        except Transient:  # what is left of the answers must not be taken for those to the next batch
            self._netlink.close()
            self._netlink = self._opened()
            raise
        with suppress(Transient):  # then we ask before the next
            self._generation = _told(answer)
        return refused
