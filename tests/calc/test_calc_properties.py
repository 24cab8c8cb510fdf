"""Laws of calculation, over generated histories. Each one was seen to fail: the mutants it kills stand beside it.

The histories aim: see `calcworlds`. Mutants are changes of one place in src/muslin/calc, named `module: what`.
"""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from calcwords import Things
from calcworlds import (
    BATCHES,
    CHOICES,
    HISTORIES,
    HOSTS,
    VARIANTS,
    WORLDS,
    Choices,
    Told,
    enforced,
    hosts_story,
    same,
    together,
    value,
)
from muslin.calc import host
from muslin.calc.cluster import ClusterDelta, Graph, Illegible
from muslin.intent import AddressSet, Delta, HostIntent, Policy, PortSet
from muslin.model.kinds import BY_NAME
from muslin.model.meta import Resource, ResourceKey

EMPTY = Graph().statistics()


def fresh(*batches: Choices) -> Graph:
    """A graph that heard only the end of the story, at once."""
    graph = Graph()
    graph.update(together([which for batch in batches for which in batch]))
    graph.flush()
    return graph


def snapshot(graph: Graph, name: str) -> HostIntent:
    told = Told()
    told.hear(graph.snapshot(name))
    return told.state


class Listeners:
    """All hosts listen from the beginning, and somebody writes down the faults."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.told = {name: Told() for name in HOSTS}
        self.faults: dict[ResourceKey, str] = {}
        for name in HOSTS:
            self.told[name].hear(self.graph.subscribe(name))

    def hear(self) -> ClusterDelta:
        delta = self.graph.flush()
        for name, change in delta.hosts.items():
            assert change
            self.told[name].hear(change)
        for key, message in delta.faults.items():
            assert self.faults.get(key) != message, "a fault is told again"
            if message is None:
                del self.faults[key]
            else:
                self.faults[key] = message
        return delta

    def equals(self, other: Graph) -> None:
        for name in HOSTS:
            same(self.told[name].state, snapshot(other, name))
        assert self.faults == other.faults()


@given(HISTORIES)
@settings(max_examples=400)
def test_step_by_step_is_the_same_as_from_scratch(history: list[Choices]) -> None:
    """After each flush the hosts have been told exactly what a graph that never saw the past would tell; on the way
    nothing referred to what was not there, and nothing was told twice.

    Kills: population: `_alter` forgets the ports; population: `relabel` tells no set; rulebook: a tier's change soils
    no class; rulebook: a policy that moves soils only its new classes; places: the heir of an interface is not judged;
    places: queued rivals are not told of a new winner; classes: `relabel` keeps the old index; sets: `touch` keeps the
    shared value; views: a changed policy keeps its old sets; policies: `stands_like` ignores the order, or the scope;
    selectors: a new entry matches nobody; selectors: a class does not look under its namespace; network: a block's old
    borrower is not told; network: a bad pool hides those after it; network: a Node's labels, or its addresses, change
    nobody's settings, or hosts' addresses are remembered for ever; profiles: labels stay when the profile goes;
    services: a change of a slice announces only what it holds now; services: an old slice gives nothing back.
    """
    listeners = Listeners()
    for number, batch in enumerate(history, 1):
        listeners.graph.update(together(batch))
        listeners.hear()
        listeners.equals(fresh(*history[:number]))


@given(WORLDS, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_neither_order_nor_repetition_nor_squashing_matters(world: Choices, random: object) -> None:
    """One batch, one thing at a time in any order, everything twice: the end is the same.

    Kills: places: whoever came first keeps the address; places: whoever came first keeps the interface; policies: rank
    without the name; population: `relabel` tells no set; services: `touch` notes again what it noted before.
    """
    shuffled = list(world) * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    listeners = Listeners()
    for which in shuffled:
        listeners.graph.update(value(which))
        if which[0] % 3 == 0:
            listeners.hear()
    listeners.hear()
    listeners.equals(fresh(world))


@given(HISTORIES)
def test_what_is_there_already_changes_nothing(history: list[Choices]) -> None:
    """A resync replays everything; no host may notice.

    Kills: views: an unchanged endpoint is told again; views: settings are told whatever they say; faults: told though
    as before; tally: `settle` reports what was there.
    """
    listeners = Listeners()
    everything: Choices = []
    for batch in history:
        listeners.graph.update(together(batch))
        listeners.hear()
        everything += batch
    for which in everything:
        listeners.graph.update(together([other for other in everything if other[0] == which[0]]))
    delta = listeners.hear()
    assert delta == ClusterDelta()


@pytest.mark.slow
@given(WORLDS, BATCHES)
@settings(max_examples=200)
def test_there_and_back_again_leaves_nothing(world: Choices, detour: Choices) -> None:
    """A -> B -> A between two flushes was never B; with flushes in between, A is as it was.

    Kills: sets: `touch` notes again what it noted before; population: `_remove` leaves the fault of a rival; selectors:
    `release` keeps the handles; views: a vanished group keeps its policies; places: an empty host is kept.
    """
    back = [(key, dict(world)[key]) for key, _ in detour]
    listeners = Listeners()
    listeners.graph.update(together(world))
    listeners.hear()
    before = listeners.graph.statistics()

    listeners.graph.update(together(detour))
    listeners.graph.update(together(back))
    assert listeners.hear() == ClusterDelta()

    listeners.graph.update(together(detour))
    listeners.hear()
    listeners.graph.update(together(back))
    listeners.hear()
    listeners.equals(fresh(world))
    assert listeners.graph.statistics() == before


@given(WORLDS, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_everything_taken_away_in_any_order_leaves_nothing(world: Choices, random: object) -> None:
    """Asymmetric teardown: a profile goes while endpoints name it, a tier before its policies, a namespace before its
    sets. At no step does anything refer to what is gone (`Told` checks), and at the end no table holds anything.

    Kills: classes: an empty class is kept; selectors: `release` keeps the handles; selectors: `discard` keeps an empty
    label; places: an empty host is kept; sets: the last user does not close; network: an empty host keeps its blocks;
    places: `remove` goes on waiting; views: a vanished group keeps its policies.
    """
    listeners = Listeners()
    listeners.graph.update(together(world))
    listeners.hear()
    order = list(range(len(VARIANTS)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for key in order:
        listeners.graph.update(value((key, 0)))
        listeners.hear()
    blank = Graph()
    listeners.equals(blank)
    assert listeners.faults == {}
    for name in HOSTS:
        listeners.graph.unsubscribe(name)
    assert listeners.graph.statistics() == EMPTY


@pytest.mark.slow
@given(HISTORIES, st.data())
@settings(max_examples=150)
def test_a_host_may_come_and_go_at_any_moment(history: list[Choices], data: st.DataObject) -> None:
    """Subscribing between an update and its flush, asking for a snapshot, leaving and coming back: nobody else notices,
    and the host knows all it must.

    Kills: views: `_given_early` is forgotten, or looked at only when its set changed; cluster: `snapshot` leaves its
    sets open; cluster: `unsubscribe` leaves its sets open; sets: `close` forgets a set that others use.
    """
    listeners = Listeners()
    for number, batch in enumerate(history, 1):
        for which in batch:
            listeners.graph.update(value(which))
            name = data.draw(st.sampled_from((*HOSTS, "h3")))
            match data.draw(st.sampled_from(("nothing", "subscribe", "snapshot", "leave"))):
                case "subscribe" if name in HOSTS:
                    listeners.told[name] = Told()
                    listeners.told[name].hear(listeners.graph.subscribe(name))
                case "snapshot":
                    listeners.graph.snapshot(name)
                case "leave" if name in HOSTS:
                    listeners.graph.unsubscribe(name)
                    listeners.told[name] = Told()
                    listeners.told[name].hear(listeners.graph.subscribe(name))
        listeners.hear()
        listeners.equals(fresh(*history[:number]))
    for name in HOSTS:
        listeners.graph.unsubscribe(name)
    assert listeners.graph.statistics()["sets"] == 0


@given(HISTORIES)
def test_nobody_who_listens_means_no_work_for_hosts(history: list[Choices]) -> None:
    """Sets are open only while a subscribed host uses them.

    Kills: rulebook: sets are opened when their policy comes.
    """
    graph = Graph()
    for batch in history:
        graph.update(together(batch))
        assert graph.flush().hosts == {}
    assert graph.statistics()["sets"] == 0


@given(HISTORIES)
@settings(max_examples=200)
def test_what_is_staged_changes_nothing_of_what_is_enforced(history: list[Choices]) -> None:
    """The same history without staged policies leads to the same rules at the same endpoints.

    Kills: policies: `staged` is not set in what compiles; policies: it is not set in a stand-in.
    """
    with_staged, without = fresh(*history), Graph()
    without.update({key: found for key, found in together([which for batch in history for which in batch]).items()
                    if not key.kind.startswith("Staged")})
    for name in HOSTS:
        assert enforced(snapshot(with_staged, name)) == enforced(snapshot(without, name))


# --- the host's graph -------------------------------------------------------------------------------------------------


def lossy(delta: Delta, drop: object) -> Delta:
    """The delta, but some of what it says is lost."""
    kept = Delta(snapshot=delta.snapshot, bgp=delta.bgp, settings=delta.settings)
    for name in ("sets", "policies", "groups", "endpoints", "host_interfaces"):
        table = getattr(delta, name)
        setattr(kept, name, {key: found for key, found in table.items() if not drop.draw(st.booleans())})  # type: ignore[attr-defined]
    return kept


@pytest.mark.slow
@given(HISTORIES, st.data())
@settings(max_examples=300)
def test_whatever_is_lost_on_the_way_nothing_dangles_on_the_host(history: list[Choices], data: st.DataObject) -> None:
    """Half a story still leads to an intent in which every reference is there, at every step, and a policy is either
    as it was told or denies.

    Kills: host: a missing set stands in as empty where it is forbidden; host: policies are not looked at again when a
    set goes; host: policies are not when a group goes; host: groups are not when an endpoint comes, or only a workload;
    host: a stand-in set stays when its policy goes; host: interfaces that change bind nothing anew; host: troubles
    outlive their host endpoints; working: `settle` does not forget.
    """
    graph, told, arrived = host.Graph(), Told(), Delta(snapshot=True)
    for delta in hosts_story(history):
        heard, there = lossy(delta, data), data.draw(st.sampled_from(INTERFACES))
        add_up(arrived, heard)
        graph.update(heard)
        graph.update_interfaces(there)
        told.hear(graph.flush())
        same(told.state, graph.intent)
        for policy_id, policy in told.state.policies.items():
            assert policy == arrived.policies.get(policy_id) or denies(policy)
            assert policy.staged == policy_id.startswith("Staged")
        anew = host.Graph()
        anew.update_interfaces(there)
        anew.update(arrived)
        anew.flush()
        same(told.state, anew.intent)
        assert graph.troubles == anew.troubles


INTERFACES: tuple[dict[str, frozenset[str]], ...] = (
    {}, {"eth0": frozenset({"10.65.0.1"})}, {"eth0": frozenset(), "eth1": frozenset({"10.65.0.1", "172.16.0.1"})},
    {"musa": frozenset({"10.65.0.1"}), "lan": frozenset({"10.65.0.1"})},
)


def denies(policy: Policy) -> bool:
    rules = policy.ingress + policy.egress
    return all(rule.action == "Deny" and rule.origin.note for rule in rules) and len(rules) == 2


def add_up(arrived: Delta, heard: Delta) -> None:
    """All that arrived, as one snapshot. A change of a set that never arrived adds nothing."""
    for name in ("policies", "groups", "endpoints", "host_interfaces"):
        table = getattr(arrived, name)
        for key, found in getattr(heard, name).items():
            if found is None:
                table.pop(key, None)
            else:
                table[key] = found
    for set_id, change in heard.sets.items():
        old = arrived.sets.get(set_id)
        if isinstance(change, AddressSet | PortSet):
            arrived.sets[set_id] = change
        elif change is None:
            arrived.sets.pop(set_id, None)
        elif isinstance(old, AddressSet):
            arrived.sets[set_id] = AddressSet(id=set_id, members=(old.members - change.removed) | change.added)
        elif isinstance(old, PortSet):
            members = (old.members - change.ports_removed) | change.ports_added
            arrived.sets[set_id] = PortSet(id=set_id, members=members)
    arrived.bgp = heard.bgp if heard.bgp is not UNSET else arrived.bgp
    arrived.settings = heard.settings if heard.settings is not UNSET else arrived.settings


@given(HISTORIES)
def test_a_snapshot_after_a_lost_connection_costs_only_the_difference(history: list[Choices]) -> None:
    """The agent hears the first half, then a snapshot: it is where an agent is that heard everything, and it is told
    nothing that it knew.

    Kills: host: a snapshot forgets nothing; working: `replace` notes no removal; working: `settle` does not forget.
    """
    deltas = hosts_story(history)
    half = len(deltas) // 2
    late, told, all_along = host.Graph(), Told(), host.Graph()
    for delta in deltas[:half]:
        late.update(delta)
        told.hear(late.flush())
    for delta in deltas:
        all_along.update(delta)
    all_along.flush()
    end = fresh(*history).snapshot("h1")
    late.update(end)
    told.hear(late.flush())
    same(late.intent, all_along.intent)
    same(told.state, late.intent)
    late.update(end)
    assert not late.flush()


# --- whatever lies in the store ---------------------------------------------------------------------------------------

NASTY = (
    "", " ", "\n", "'", '"', "a'b\"c", "all()", "!", "has(", "x" * 2000, "10.0.0.0/8", "::/0", "1:2", "-1", "\u00e9",
    "\0", "../..", -1, 0, 2**70, 1.5, True, None, [], {}, [None], ["x"], [5], {"x": "y"}, {"": ""}, [[]], [{}],
    {"a": {}},
)
TEXTS = ("metadata", "spec")


def spoilt(draw: st.DrawFn, obj: object) -> object:
    """The same JSON with one value replaced by something nasty."""
    nasty = draw(st.sampled_from(NASTY))
    if isinstance(obj, dict) and obj and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(obj)))
        return {**obj, key: spoilt(draw, obj[key])}
    if isinstance(obj, list) and obj and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(obj) - 1))
        return [*obj[:place], spoilt(draw, obj[place]), *obj[place + 1:]]
    return nasty


@st.composite
def garbled(draw: st.DrawFn) -> Things:
    key, found = draw(st.sampled_from([
        pair for values in VARIANTS for things in values for pair in things.items() if isinstance(pair[1], Resource)]))
    assert isinstance(found, Resource)
    obj = msgspec.json.decode(msgspec.json.encode(found))
    for _ in range(draw(st.integers(1, 3))):
        part = draw(st.sampled_from(TEXTS))
        obj[part] = spoilt(draw, obj.get(part))
    if not draw(st.integers(0, 5)):
        key = ResourceKey(key.kind, key.namespace and "a'\"b", draw(st.sampled_from(("", "a'b", "x/y", "n"))))
    try:
        return {key: msgspec.convert(obj, BY_NAME[key.kind].struct)}
    except msgspec.ValidationError as error:
        return {key: Illegible(key, str(error), obj)}


@given(WORLDS, st.lists(garbled(), max_size=6))
@settings(max_examples=300)
def test_nothing_that_lies_in_the_store_stops_the_calculation(world: Choices, garbage: list[Things]) -> None:
    """Whatever somebody wrote past the API, it disables itself at most: no object raises, what hosts hear is whole, and
    when the garbage is gone the rest is as if it had never been there.

    Kills: rules: the namespace is put into a selector's text as it is (a quote in it raised).
    """
    listeners = Listeners()
    listeners.graph.update(together(world))
    for things in garbage:
        listeners.graph.update(things)
        listeners.hear()
    listeners.graph.update({key: None for things in garbage for key in things})
    listeners.graph.update(together(world))
    listeners.hear()
    listeners.equals(fresh(world))


@given(CHOICES)
@example((0, 0))
def test_choices_are_what_they_say(which: tuple[int, int]) -> None:
    """The generator itself: 0 is gone, everything else is there."""
    assert all((found is None) == (which[1] == 0) for found in value(which).values())
