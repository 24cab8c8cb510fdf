"""Our own netlink messages against the program `nft`: what either writes, the kernel lists in the same words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import netrig
import nftrig
from intents import OPEN, OPEN_IN, OPEN_OUT, endpoint, intent
from muslin.drivers.nf_tables import Committing, asking
from muslin.drivers.nft import Drifted, Nft
from muslin.errors import Broken, Transient
from muslin.intent import HostIntent
from muslin.net import Cidr
from muslin.render.nft import Changes, ElementChange, Flow, NftState, whole
from muslin.render.nft.table import Table
from muslin.render.nft.wire import Batch, encoded
from muslin.render.nft.words import (
    ACCEPT,
    DROP,
    Atom,
    ByMap,
    Chain,
    Choose,
    Counter,
    CtState,
    Element,
    Equal,
    Field,
    Hook,
    InSet,
    Mapped,
    Match,
    NameBegins,
    NamedSet,
    OneOf,
    Rule,
    Span,
    Type,
    goto,
)
from nftcases import intents, mixed, step

from hypothesis import Phase
NOSHRINK=(Phase.explicit, Phase.reuse, Phase.generate)
pytestmark = pytest.mark.kernel

Spaces = tuple[str, str]


@pytest.fixture(scope="module")
def spaces() -> Iterator[Spaces]:
    """Where the wire writes, and where the program does."""
    with netrig.namespace("wire") as one, netrig.namespace("prog") as other:
        yield one, other


@pytest.fixture(scope="module")
def writers(spaces: Spaces) -> Iterator[tuple[Nft, Nft]]:
    one, other = Nft(spaces[0], program=False), Nft(spaces[1], program=True)
    yield one, other
    one.close()
    other.close()


def _listed(space: str) -> list[Any]:
    """What `nft` shows of the table, without the numbers that the kernel gives, and sets in one order."""
    found = json.loads(netrig.in_ns(space, "nft", "-j", "-n", "list", "table", "inet", "muslin"))["nftables"][1:]
    for item in found:
        for body in item.values():
            body.pop("handle", None)
            if "elem" in body:
                body["elem"] = sorted(body["elem"], key=repr)
    return sorted(found, key=_named)


def _named(item: dict[str, Any]) -> str:
    """Rules keep their order within a chain, all else goes by its name."""
    ((kind, body),) = item.items()
    return f"{kind} {body.get('chain') or body.get('name')}"


def _write(writers: tuple[Nft, Nft], changes: Changes, cut: dict[Flow, int] | None = None) -> None:
    for writer in writers:
        asyncio.run(writer.apply(changes, cut or {}))


@pytest.mark.slow
@settings(max_examples=40, phases=NOSHRINK, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(intents(), st.lists(st.tuples(intents(), st.lists(st.booleans(), min_size=6, max_size=6)), max_size=2))
def test_both_write_every_table_and_every_change_alike(spaces: Spaces, writers, start: HostIntent, walk) -> None:
    """Whatever an intent holds, and whatever becomes of it."""
    states = NftState(), NftState()
    now = start
    for then, choices in [(start, [True] * 6), *walk]:
        then = mixed(now, then, choices)
        delta = step(now, then, members=True)
        for state, writer in zip(states, writers, strict=True):
            asyncio.run(writer.apply(state.update(delta, then)))
        now = then

    assert _listed(spaces[0]) == _listed(spaces[1])
