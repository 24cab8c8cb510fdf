"""Changes as text, for `iptables-restore --noflush`, `ip6tables-restore --noflush` and `ipset restore`.

A line `:chain - [0:0]` makes the chain, or empties it; what follows until COMMIT happens in one step. Nothing that a
user wrote may end a quoted string or begin a line: names are made of safe letters, comments and prefixes were made
printable. What still would not fit in quotes here is our own bug.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from muslin.errors import Broken
from muslin.net import bounds
from muslin.render.iptables import names
from muslin.render.iptables.ruleset import ChainKey, Changes
from muslin.render.iptables.words import (
    Above,
    Address,
    AddressRange,
    Chain,
    Connections,
    End,
    Flow,
    IcmpType,
    InSet,
    Interface,
    IpSet,
    Jump,
    Limit,
    Log,
    Marked,
    Masquerade,
    OpensTcp,
    Ports,
    Protocol,
    Reject,
    Rule,
    Ruling,
    SetDscp,
    SetMark,
    Table,
    Target,
    Test,
    ToHost,
    Translate,
    Untrack,
)

MOST_MEMBERS = 1 << 24
"""The kernel refuses more; it keeps no room for them."""


def set_lines(changes: Changes) -> Iterator[str]:
    """Step 1: new sets, and what comes into sets."""
    for declared in changes.new_sets:
        yield _create(declared)
    for name, elements in sorted(changes.added.items()):
        yield from (f"add {name} {element}" for element in sorted(elements))


def gone_lines(changes: Changes) -> Iterator[str]:
    """Step 3: what leaves sets."""
    for name, elements in sorted(changes.removed.items()):
        yield from (f"del {name} {element}" for element in sorted(elements))


def _create(declared: IpSet) -> str:
    timeout = " timeout 0" if declared.timeout else ""
    family = "inet6" if declared.family == 6 else "inet"
    return f"create {declared.name} {declared.kind} family {family} maxelem {MOST_MEMBERS}{timeout}"


def tables_of(chains: Mapping[ChainKey, Chain | None], family: int) -> tuple[Table, ...]:
    """In the order in which they are written. What raw and mangle let through early, filter lets through before they
    do, and after they do no more: so tables that lose something come after filter, the others before it."""
    touched = {key.table: False for key in chains if key.family == family}
    for key, chain in chains.items():
        if key.family == family and chain is None:
            touched[key.table] = True
    early = [table for table in names.TABLES if touched.get(table) is False and table is not Table.FILTER]
    late = [table for table in reversed(names.TABLES) if touched.get(table) is True and table is not Table.FILTER]
    return (*early, *((Table.FILTER,) if Table.FILTER in touched else ()), *late)


def table_text(
    chains: Mapping[ChainKey, Chain | None], family: int, table: Table, jumps: Iterable[str] = ()
) -> str:
    """One table of one family, from `*table` to COMMIT. `jumps`: lines that change the built-in chains."""
    mine = {key.name: chain for key, chain in sorted(chains.items()) if (key.family, key.table) == (family, table)}
    lines = [f"*{table}"]
    lines += [f":{name} - [0:0]" for name in mine]
    lines += [f"-A {name} {rule_text(rule)}" for name, chain in mine.items() if chain for rule in chain.rules]
    lines += jumps
    lines += [f"-X {name}" for name, chain in mine.items() if chain is None]
    return "\n".join((*lines, "COMMIT", ""))


def rule_text(rule: Rule) -> str:
    words = [_test(test) for test in rule.tests]
    if rule.comment:
        words.append(f"-m comment --comment {_quoted(rule.comment)}")
    return " ".join((*words, _target(rule.target)))


def _test(test: Test) -> str:
    match test:
        case Protocol(number=number, negated=negated):
            return f"{_not(negated)}-p {number}"
        case Address(end=end, prefix=prefix, negated=negated):
            return f"{_not(negated)}-{'s' if end is End.SOURCE else 'd'} {prefix}"
        case AddressRange(end=end, prefix=prefix, negated=negated):
            return f"-m iprange {_not(negated)}--{end}-range {_range(prefix)}"
        case InSet(set=name, ends=ends, negated=negated):
            return f"-m set {_not(negated)}--match-set {name} {','.join(ends)}"
        case Ports(end=end, ranges=ranges, negated=negated):
            word = "sports" if end is End.SOURCE else "dports"
            return f"-m multiport {_not(negated)}--{word} {','.join(map(_port, ranges))}"
        case ToHost():
            return "-m addrtype --dst-type LOCAL"
        case IcmpType(family=family, type=number, code=code, negated=negated):
            match_, word = ("icmp", "icmp-type") if family == 4 else ("icmp6", "icmpv6-type")
            return f"-m {match_} {_not(negated)}--{word} {number if code is None else f'{number}/{code}'}"
        case Interface(end=end, name=name, negated=negated):
            return f"{_not(negated)}-{'i' if end is End.SOURCE else 'o'} {name}"
        case _:
            return _state_test(test)


def _state_test(test: Flow | Marked | OpensTcp | Limit | Above | Connections) -> str:
    match test:
        case Flow(states=states):
            return f"-m conntrack --ctstate {','.join(states)}"
        case Marked(value=value, mask=mask, negated=negated):
            return f"-m mark {_not(negated)}--mark {value:#x}/{mask:#x}"
        case OpensTcp():
            return "-p 6 -m tcp --syn"
        case Limit(number=number, per=per, burst=burst):
            return f"-m limit --limit {number}/{per} --limit-burst {burst}"
        case Above(rate=rate, burst=burst, name=name):
            return f"-m hashlimit --hashlimit-above {rate}/sec --hashlimit-burst {burst} --hashlimit-name {name}"
        case Connections(above=above):
            return f"-m connlimit --connlimit-above {above} --connlimit-mask 0 --connlimit-daddr"


def _target(target: Target) -> str:
    match target:
        case Ruling():
            return f"-j {target}"
        case Jump(chain=chain, for_good=for_good):
            return f"-{'g' if for_good else 'j'} {chain}"
        case Reject(family=family, reset=reset):
            how = "tcp-reset" if reset else "icmp-admin-prohibited" if family == 4 else "icmp6-adm-prohibited"
            return f"-j REJECT --reject-with {how}"
        case SetMark(value=value, mask=mask):
            return f"-j MARK --set-xmark {value:#x}/{mask:#x}"
        case Log(prefix=prefix):
            return f"-j LOG --log-prefix {_quoted(prefix)}"
        case Untrack():
            return "-j CT --notrack"
        case Masquerade(ports=ports):
            return f"-j MASQUERADE --to-ports {ports[0]}-{ports[1]}" if ports else "-j MASQUERADE"
        case Translate(end=end, address=address, ports=ports):
            word = "SNAT --to-source" if end is End.SOURCE else "DNAT --to-destination"
            host = f"[{address}]" if ports and ":" in address else address
            return f"-j {word} {host}" + (f":{_port(ports).replace(':', '-')}" if ports else "")
        case SetDscp(value=value):
            return f"-j DSCP --set-dscp {value:#x}"


def _not(negated: bool) -> str:
    return "! " if negated else ""


def _range(prefix: str) -> str:
    version, first, last = bounds(prefix)
    return f"{_address(first, version)}-{_address(last, version)}"


def _address(number: int, version: int) -> str:
    if version == 4:
        return ".".join(map(str, number.to_bytes(4, "big")))
    packed = number.to_bytes(16, "big").hex()
    return ":".join(packed[place : place + 4] for place in range(0, 32, 4))


def _port(ports: tuple[int, int]) -> str:
    return str(ports[0]) if ports[0] == ports[1] else f"{ports[0]}:{ports[1]}"


def _quoted(words: str) -> str:
    if not words.isprintable() or any(letter in words for letter in '"\\$'):
        raise Broken(f"{words!r} cannot be quoted for iptables")
    return f'"{words}"'
