"""Rules sorted by port decide as rules in order do: for every packet the same rule, whatever the policies say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intents import ALLOW, DENY, INGRESS, LOG, PASS, addresses, group, intent, policy, rule, side, tier
from muslin.intent import AddressSet, HostIntent, Policy, Rule
from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, bounds, contains
from muslin.render.fields import Equal, Field, InSet, OneOf, Span
from muslin.render.nft import render
from muslin.render.nft.reach import Reach, cut
from muslin.render.nft.runs import SMALL
from muslin.render.nft.table import Table
from muslin.render.nft.words import ByMap, Choose, Log, Noted, Ruling, Verdict
from muslin.render.nft.words import Rule as Line

TCP, UDP, ICMP, GRE = 6, 17, 1, 47
PORTS = (0, 1, 79, 80, 81, 82, 110, 111, 112, 113, 114, 443, 8079, 8080, 65534, 65535)
MEMBERS = {"s": "10.0.0.1 10.0.0.3", "t": "10.0.0.2 10.0.0.3 10.0.0.5", "u": "10.0.0.4 10.0.1.0/24", "v": "10.0.0.3"}
SETS = tuple(MEMBERS)
NETS = ("10.0.0.0/31", "10.0.0.2/32", "10.0.0.0/29", "10.0.0.4/30", "10.0.0.0/16", "10.0.1.0/24", "10.9.0.0/16")
SOURCES = tuple(f"10.0.{last}/32" for last in ("0.0", "0.1", "0.2", "0.3", "0.4", "1.9"))

Packet = tuple[int, int, str]
"""Protocol, destination port, and source."""


class Kernel:
    """What a packet meets in the chains of one group, by what nftables does with these words."""

    def __init__(self, table: Table, packet: Packet) -> None:
        self._table = table
        self._fields: dict[Field, int | str] = {
            Field.FAMILY: 4, Field.PROTOCOL: packet[0], Field.SOURCE4: packet[2]}
        if packet[0] in PROTOCOLS_WITH_PORTS:
            self._fields[Field.DESTINATION_PORT] = packet[1]
        self._source = Cidr(packet[2])
        self.steps = 0
        self.logged: list[str] = []
        """Comments of rules that have told of the packet, in order."""
        self._noted = ""
        """The comment of the element that the rule has met."""

    def fate(self, chain: str) -> tuple[str, str] | None:
        """(verdict, comment of the rule that spoke it); None when the packet comes back."""
        for line in self._table.chains[chain].rules:
            self.steps += 1
            self._noted = ""
            said = self._said(line)
            if said is None:
                continue
            if said.ruling is Ruling.RETURN:
                return None
            if said.ruling is Ruling.GOTO:
                return self.fate(said.chain)
            if said.ruling is Ruling.JUMP:
                if found := self.fate(said.chain):
                    return found
                continue
            return str(said.ruling), self._noted or line.comment
        return None

    def _said(self, line: Line) -> Verdict | None:
        """None: the next rule."""
        for statement in line.statements:
            match statement:
                case Log():
                    self.logged.append(line.comment)
                case Verdict():
                    return statement
                case ByMap(fields=fields, map=name):
                    keys = tuple(self._fields.get(field, "") for field in fields)
                    found = self._table.elements[name].get(keys if len(keys) > 1 else keys[0])
                    return found if isinstance(found, Verdict) else None
                case Choose(field=field, choices=choices):
                    return next((to for value, to in choices if self._is(field, value)), None)
                case Equal(field=field, value=value, negated=negated):
                    if field not in self._fields or self._is(field, value) is negated:
                        return None
                case OneOf(fields=(field,), elements=values, negated=negated):
                    if field not in self._fields or any(self._is(field, value) for value in values) is negated:
                        return None
                case InSet(fields=(Field.PROTOCOL, Field.DESTINATION_PORT), set=name):
                    keys = self._fields[Field.PROTOCOL], self._fields.get(Field.DESTINATION_PORT, "")
                    noted = self._table.elements[name].get(keys)
                    if not isinstance(noted, Noted):
                        return None
                    self._noted = noted.comment
                case InSet(set=name, negated=negated):
                    if any(contains(Cidr(str(net)), self._source) for net in self._table.elements[name]) is negated:
                        return None
        return None

    def _is(self, field: Field, value: object) -> bool:
        mine = self._fields.get(field)
        if field is Field.SOURCE4 and isinstance(value, str):
            return contains(Cidr(value), self._source)
        if isinstance(value, Span):
            number = bounds(self._source)[1] if field is Field.SOURCE4 else mine
            return isinstance(number, int) and value.first <= number <= value.last
        return mine == value


def _met(table: Table, made: HostIntent, packet: Packet) -> tuple[tuple[str, str] | None, list[str]]:
    """In the only group: its fate, and who has told of it on its way there."""
    (one,), kernel = made.groups, Kernel(table, packet)
    return kernel.fate(f"ingress/group/{one}"), kernel.logged


def _law(made: HostIntent, packet: Packet) -> tuple[tuple[str, str], list[str]]:
    """The law of a group, read off intent/policy.py, for the few words that rules have here."""
    (one,), logged = made.groups.values(), []
    for stage in one.stages:
        for each in (each for name in stage.policies for each in made.policies[name].ingress if _meets(each, packet)):
            comment = f"GlobalNetworkPolicy/p ingress {each.origin.rule}"
            if each.action is PASS:
                break
            if each.action is not LOG:
                return ({ALLOW: "accept", DENY: "drop"}[each.action], comment), logged
            logged.append(comment)
        else:
            if stage.default_action is not PASS:
                return ("drop", f"Tier/{stage.tier} ingress"), logged
    return ("drop", "no profile allows: ingress"), logged


def _meets(one: Rule, packet: Packet) -> bool:
    protocol, port, source = packet
    to, by = one.destination, one.source
    sets = [name for name in SETS if any(contains(net, Cidr(source)) for net in addresses(name, MEMBERS[name]).members)]
    ported = protocol in PROTOCOLS_WITH_PORTS
    return (
        one.protocol in (None, protocol)
        and (not to.ports or (ported and any(first <= port <= last for first, last in to.ports)))
        and not (ported and any(first <= port <= last for first, last in to.not_ports))
        and (not by.nets or any(contains(net, Cidr(source)) for net in by.nets))
        and not any(contains(net, Cidr(source)) for net in by.not_nets)
        and all(name in sets for name in by.sets) and not any(name in sets for name in by.not_sets)
    )


def _rule(dice: Random, index: int) -> Rule:
    def some_ports() -> str:
        first = dice.choice(PORTS)
        last = dice.choice([first, first, min(first + 1, 65535), *(port for port in PORTS if port >= first)])
        return f"{first}-{last}"

    protocol = dice.choice((TCP, TCP, TCP, UDP, ICMP, GRE, None))
    to = {}
    if protocol not in (ICMP, GRE) and dice.random() < 0.9:
        to["ports"] = " ".join(some_ports() for _ in range(dice.randint(1, 3)))
    if protocol not in (ICMP, GRE) and dice.random() < 0.15:
        to["not_ports"] = some_ports()
    by = {dice.choice(("sets", "not_sets")): dice.choice(SETS)} if dice.random() < 0.5 else {}
    for word in ("nets", "not_nets"):
        if dice.random() < 0.2:
            by[word] = " ".join(dice.sample(NETS, dice.randint(1, 2)))
    action = dice.choices((ALLOW, DENY, PASS, LOG), (6, 5, 1, 1))[0]
    return rule(action, protocol, side(**to), side(**by), index=index)


def _rules(dice: Random, index: Iterator[int]) -> list[Rule]:
    """Of any sort; or a crowd that differs in the peer; or in the port, here and there with another among them."""
    if dice.random() < 0.2:
        odd, peers = dice.choice((0, 0, 0.2)), {"sets": "s"} if dice.random() < 0.5 else {}
        most = dice.choice((ALLOW, ALLOW, LOG))
        alike = [rule(DENY if dice.random() < odd else most, dice.choice((TCP, TCP, UDP)),
                      side(ports=f"{first}-{first + dice.choice((0, 0, 1))}"), side(**peers), index=next(index))
                 for first in dice.sample(PORTS[:-1], dice.randint(2, 6))]
        return [*alike[:3], *(_rule(dice, next(index)) for _ in range(dice.randint(0, 1))), *alike[3:]]
    if dice.random() < 0.7:
        return [_rule(dice, next(index)) for _ in range(dice.randint(0, 9))]
    protocol, ports = dice.choice(((TCP, "80"), (TCP, ""), (None, "")))
    return [rule(dice.choices((ALLOW, DENY, LOG), (4, 4, 1))[0], protocol, side(ports=ports), side(**_peers(dice)),
                 index=next(index)) for _ in range(dice.randint(5, 9))]


def _peers(dice: Random) -> dict[str, str]:
    """Mostly members of sets, or those of prefixes, or whom prefixes leave; now and then several of these."""
    sort = dice.random()
    found = {"sets": dice.choice("ssstvu")} if sort < 0.6 else {}
    found |= {"nets": " ".join(dice.sample(NETS, dice.randint(1, 2)))} if 0.55 < sort < 0.8 else {}
    return found | ({"not_nets": " ".join(dice.sample(NETS, dice.randint(1, 2)))} if sort > 0.7 else {})


def world(seed: int) -> HostIntent:
    """A group of one to three tiers with one to four policies each."""
    dice, index = Random(seed), iter(range(10**6))
    policies: list[Policy] = []
    stages = []
    for number in range(dice.randint(1, 3)):
        mine = [policy(f"p{number}{place}", *_rules(dice, index)) for place in range(dice.randint(1, 4))]
        policies += mine
        stages.append(tier(*mine, name=f"t{number}", default=dice.choice((DENY, PASS))))
    return intent(*policies, *_sets(), group(INGRESS, *stages))


def _sets() -> list[AddressSet]:
    return [addresses(name, members) for name, members in MEMBERS.items()]


def _packets() -> list[Packet]:
    ported = [(protocol, port) for protocol in (TCP, UDP, 132) for port in PORTS]
    return [(*ends, source) for ends in (*ported, (ICMP, 0), (GRE, 0)) for source in SOURCES]


@given(st.integers(0, 10**9))
def test_sorted_by_port_every_packet_meets_the_rule_that_it_meets_in_order(seed: int) -> None:
    made = world(seed)
    table = render(made)

    for packet in _packets():
        assert _met(table, made, packet) == _law(made, packet), (seed, packet)


def _of_one_port_each(count: int, *more: Rule) -> HostIntent:
    policies = [policy(f"p{n}", *(rule(ALLOW, TCP, side(ports=f"{1000 + 10 * n + k}"), index=10 * n + k)
                                  for k in range(5)), *more) for n in range(count)]
    return intent(*policies, group(INGRESS, tier(*policies)))


def _steps(made: HostIntent, *ports: int) -> list[int]:
    (one,) = made.groups
    table, found = render(made), []
    for port in ports:
        kernel = Kernel(table, (TCP, port, SOURCES[0]))
        kernel.fate(f"ingress/group/{one}")
        found.append(kernel.steps)
    return found


def test_a_packet_walks_as_far_behind_a_thousand_rules_as_behind_twenty() -> None:
    few, many = _of_one_port_each(4), _of_one_port_each(200)
    ports = (1000, 1034, 1039, 5, 65535)

    assert _steps(many, *ports) == _steps(few, *ports)
    assert max(_steps(many, 2994, *ports)) <= 3


def test_ranges_cost_as_little() -> None:
    """Each overlaps its neighbours, and they are too wide to be listed."""
    def made(count: int) -> HostIntent:
        policies = [policy(f"p{n}", rule(DENY, TCP, side(ports=f"{200 * n}-{200 * n + 300}"), side(sets="s"), index=n))
                    for n in range(count)]
        return intent(*policies, addresses("s"), group(INGRESS, tier(*policies)))

    assert _steps(made(300), 2250) == _steps(made(30), 2250) == [7]


@pytest.mark.parametrize("ports", ["80", ""])
def test_a_packet_walks_as_far_among_a_hundred_peers_as_among_ten(ports: str) -> None:
    """All of one port, or of none."""
    def made(count: int) -> HostIntent:
        policies = [policy(f"p{n}", rule(ALLOW, TCP, side(ports=ports), side(sets=f"of{n}"), index=n))
                    for n in range(count)]
        sets = [addresses(f"of{n}", f"10.0.0.{n} 10.0.1.1") for n in range(count)]
        return intent(*policies, *sets, group(INGRESS, tier(*policies)))

    def steps(count: int, source: str) -> int:
        kernel = Kernel(render(made(count)), (TCP, 80, source))
        kernel.fate(f"ingress/group/{next(iter(made(count).groups))}")
        return kernel.steps

    assert steps(100, "10.0.0.9/32") == steps(10, "10.0.0.9/32") <= 4
    assert steps(100, "10.9.9.9/32") == steps(10, "10.9.9.9/32") <= 4
    assert steps(100, "10.0.1.1/32") <= 5


@pytest.mark.parametrize(("protocol", "ports"), [(None, ""), (UDP, ""), (TCP, "80")])
def test_a_packet_walks_as_far_among_a_hundred_rules_that_leave_somebody_out_as_among_ten(
    protocol: int | None, ports: str
) -> None:
    """As `ipBlock` with `except` does: some are left out by everybody, others by one. Who is wanted meets the first."""
    def made(count: int) -> HostIntent:
        policies = [policy(f"p{n}", rule(DENY if n % 2 else ALLOW, protocol, side(ports=ports),
                                         side(not_nets=f"10.0.0.0/8 172.16.{n}.0/24"), index=n)) for n in range(count)]
        return intent(*policies, group(INGRESS, tier(*policies)))

    def steps(count: int, source: str) -> int:
        kernel = Kernel(render(now := made(count)), (protocol or TCP, 80, source))
        kernel.fate(f"ingress/group/{next(iter(now.groups))}")
        return kernel.steps

    for source in ("10.9.9.9/32", "172.16.0.1/32", "172.16.9.1/32", "192.0.2.1/32"):
        assert steps(100, source) <= 6, source


def test_who_is_wanted_by_many_that_are_not_sure_walks_these_alone() -> None:
    """Each leaves out somebody else, so that nearly everywhere all but one meet; and each asks for more than that."""
    policies = [policy(f"p{n}", rule(ALLOW, TCP, None, side(not_nets=f"10.0.0.0/8 172.16.{n}.0/24", not_sets="s"),
                                     index=n)) for n in range(100)]
    others = [policy(f"q{n}", rule(ALLOW, None, None, side(sets=f"of{n}"), index=200 + n)) for n in range(100)]
    sets = [*_sets(), *(addresses(f"of{n}", f"10.0.{n}.1 192.0.2.{n}") for n in range(100))]
    made = intent(*policies, *others, *sets, group(INGRESS, tier(*policies, *others)))
    table, (one,) = render(made), made.groups

    assert sum(len(chain.rules) for chain in table.chains.values()) < 200 * 4
    for source, protocol, decided, most in (
        ("10.9.9.9/32", TCP, None, 4), ("10.0.9.1/32", TCP, 209, 4), ("192.0.2.200/32", TCP, 0, 5),
        ("172.16.0.1/32", TCP, 1, 7), ("192.0.2.200/32", UDP, None, 2 * 100 + 4), ("192.0.2.9/32", UDP, 209, 2 * 200),
    ):
        kernel = Kernel(table, (protocol, 80, source))
        said = "Tier/default ingress" if decided is None else f"GlobalNetworkPolicy/p ingress {decided}"
        assert kernel.fate(f"ingress/group/{one}") == ("drop" if decided is None else "accept", said)
        assert kernel.steps <= most


def _mixed(count: int) -> HostIntent:
    """What can be sorted by nothing but the peer: denies between, prefixes, wide ranges that overlap, no ports."""
    policies, sets = [], []
    for n in range(count):
        mine, net = {"sets": f"of{n}"}, {"nets": f"172.16.{n}.0/24"}
        wide = {"ports": f"{1000 + n}-{60000 - n}"}
        policies.append(policy(
            f"p{n}", rule(DENY, None, None, side(**mine), index=10 * n), rule(DENY, UDP, side(**wide), side(**net)),
            rule(ALLOW, TCP, side(ports=f"{100 + n}"), side(**mine), index=10 * n + 1),
            rule(ALLOW, UDP, side(**wide), side(**net), index=10 * n + 2), rule(ALLOW, None, None, side(**mine))))
        sets.append(addresses(f"of{n}", f"10.0.{n}.1 172.16.{n}.7"))
    return intent(*policies, *sets, group(INGRESS, tier(*policies)))


def _ranges(count: int) -> HostIntent:
    """Each holds the next."""
    policies = [policy(f"p{n}", rule(ALLOW, TCP, side(ports=f"{100 + n}-{60000 - n}"), side(sets=f"of{n}"), index=n))
                for n in range(count)]
    sets = [addresses(f"of{n}", f"10.0.{n}.1") for n in range(count)]
    return intent(*policies, *sets, group(INGRESS, tier(*policies)))


def _logged(count: int) -> HostIntent:
    """Each policy tells of somebody before it denies him: by a set, by prefixes, or by a port."""
    policies, sets = [], []
    for n in range(count):
        net, port = {"nets": f"172.16.{n}.0/24"}, {"ports": f"{6000 + n}"}
        policies.append(policy(
            f"p{n}", rule(LOG, None, None, side(sets=f"of{n}")), rule(DENY, None, None, side(sets=f"of{n}")),
            rule(LOG, UDP, None, side(**net)), rule(DENY, UDP, None, side(**net)),
            rule(LOG, TCP, side(**port), side(sets=f"of{n}")), rule(ALLOW, TCP, side(**port), side(sets=f"of{n}"))))
        sets.append(addresses(f"of{n}", f"10.0.{n}.1 172.16.{n}.7"))
    return intent(*policies, *sets, group(INGRESS, tier(*policies)))


def _logged_ports(count: int) -> HostIntent:
    """Nobody in particular."""
    policies = [policy(f"p{n}", rule(ALLOW, TCP, side(ports=f"{100 + n}")), rule(LOG, TCP, side(ports=f"{6000 + n}")),
                       rule(DENY, TCP, side(ports=f"{6000 + n}"))) for n in range(count)]
    return intent(*policies, group(INGRESS, tier(*policies)))


@pytest.mark.parametrize(("made", "most"), [(_mixed, 8), (_ranges, 8), (_logged, 9), (_logged_ports, 8)])
def test_what_cannot_be_sorted_by_port_is_sorted_by_peer(made: Callable[[int], HostIntent], most: int) -> None:
    """A packet walks as far behind two hundred policies as behind one hundred."""
    def steps(count: int, source: str, protocol: int) -> int:
        now = made(count)
        kernel = Kernel(render(now), (protocol, 5000, f"{source}/32"))
        kernel.fate(f"ingress/group/{next(iter(now.groups))}")
        return kernel.steps

    for source in ("10.0.9.1", "10.9.9.9", "172.16.9.7", "172.16.9.8"):
        for protocol in (TCP, UDP):
            assert steps(200, source, protocol) == steps(100, source, protocol) <= most, (source, protocol)


def test_who_is_in_a_set_and_in_a_prefix_is_told_of_once_by_each() -> None:
    """The map by peer knows his prefixes, too, and the lookup behind it would find him again."""
    rules = [rule(LOG, None, None, side(**by), index=number) for number, by in enumerate(
        ({"sets": "s"}, {"nets": "10.0.0.0/29"}, {"sets": "v"}, {"nets": "10.0.0.3/32"}, {"nets": "10.9.0.0/16"},
         {"not_nets": "10.0.0.0/30"}, {"sets": "t"}))]
    one = policy("p", *rules)
    made = intent(one, *_sets(), group(INGRESS, tier(one)))

    table = render(made)

    assert any("/peers" in name for name in table.sets)
    for source in SOURCES:
        assert _met(table, made, (TCP, 80, source)) == _law(made, (TCP, 80, source))


def test_rules_that_differ_in_nothing_but_the_port_are_one_line() -> None:
    """However many: each is an element, with its own comment. Another peer, or another verdict, is another line."""
    alike = [rule(ALLOW, TCP, side(ports=f"{port}"), side(sets="s"), index=port) for port in range(1000, 1020)]
    other = rule(ALLOW, TCP, side(ports="1020"), side(sets="t"), index=1020)
    denied = rule(DENY, TCP, side(ports="1021"), side(sets="s"), index=1021)
    one = policy("p", *alike, other, denied)

    table = render(intent(one, *_sets(), group(INGRESS, tier(one))))

    chains = [chain for name, chain in table.chains.items() if name.startswith("ingress4/GlobalNetworkPolicy/p")]
    assert sum(len(chain.rules) for chain in chains) == 3
    (listed,) = (table.elements[name] for name, declared in table.sets.items() if declared.counted and "ss4/" in name)
    assert listed == {(TCP, port): Noted(f"GlobalNetworkPolicy/p ingress {port}") for port in range(1000, 1020)}


def test_few_rules_are_no_lookup() -> None:
    """A host with little policy reads as it was written."""
    made = intent(few := policy("few", *(rule(ALLOW, TCP, side(ports=f"{n}")) for n in range(1, SMALL))),
                  group(INGRESS, tier(few)))

    assert not any(declared.verdicts for name, declared in render(made).sets.items() if "/ports" in name)


def test_ranges_that_all_lie_over_each_other_do_not_fill_the_kernel() -> None:
    """The worst that anybody can write: every pair of rules meets somewhere."""
    nested = [policy(f"p{n}", rule(ALLOW, TCP, side(ports=f"{100 * n + 1}-{65535 - 100 * n}"), side(not_sets="s"),
                                   index=n)) for n in range(200)]
    made = intent(*nested, *_sets(), group(INGRESS, tier(*nested)))

    table = render(made)

    lines = sum(len(chain.rules) for name, chain in table.chains.items() if name.startswith("ingress4/"))
    assert lines < 200 * 8
    for port in (0, 1, 100, 101, 30000, 65434, 65435, 65535):
        for packet in ((TCP, port, SOURCES[0]), (TCP, port, SOURCES[1])):
            assert _met(table, made, packet) == _law(made, packet)


_reaches = st.lists(st.tuples(st.sampled_from((TCP, UDP)), st.integers(0, 12), st.integers(0, 12)).map(
    lambda drawn: Reach(drawn[0], min(drawn[1:]), max(drawn[1:]))), max_size=8)


@given(_reaches)
def test_cut_spans_are_apart_and_each_knows_who_reaches_it(reaches: list[Reach]) -> None:
    found = cut((each, number) for number, each in enumerate(reaches))

    def holds(each: Reach, protocol: int, port: int) -> bool:
        return each.protocol == protocol and each.first <= port <= each.last

    for protocol in (TCP, UDP):
        for port in range(14):
            expected = tuple(number for number, each in enumerate(reaches) if holds(each, protocol, port))
            assert [who for each, who in found if holds(each, protocol, port)] == ([expected] if expected else [])
