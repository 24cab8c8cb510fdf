"""Changes as text for `nft -f -`: one command a line, so that an error can name the line and the object.

Nothing that a user wrote may end a quoted string or begin a command: names are made of safe letters (see names), and
comments and log prefixes were made printable. What still would not fit in quotes here is our own bug.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address

import msgspec

from muslin.errors import Broken
from muslin.net import Cidr, is_host
from muslin.render.nft.table import (
    FAMILY,
    TABLE,
    AddChain,
    AddElements,
    AddRule,
    AddSet,
    Changes,
    Command,
    FlushChain,
    FlushSet,
    KeepTable,
    RemoveChain,
    RemoveElements,
    RemoveSet,
    ReplaceTable,
    Table,
    commands,
    whole,
)
from muslin.render.nft.words import (
    DYNAMIC_SIZE,
    IDLE,
    Atom,
    ByMap,
    Choose,
    ClearMark,
    ConnectionsOver,
    Counter,
    CtState,
    Element,
    Equal,
    Field,
    InSet,
    Limit,
    Log,
    Mapped,
    Marked,
    Masquerade,
    NameBegins,
    NamedSet,
    Noted,
    NoTrack,
    OneOf,
    OpensTcp,
    PacketsOver,
    Redirect,
    Reject,
    Rule,
    Ruling,
    SetDscp,
    SetMark,
    SourceNat,
    Span,
    Statement,
    Translate,
    Type,
    Verdict,
)

BATCH = 1000
"""Elements on a line: an error then points at something that a person can still read."""


def text(changes: Changes) -> str:
    """The transaction, ready for `nft -f -`."""
    return script(commands(changes))


def script(said: Iterable[Command]) -> str:
    """One transaction of these commands."""
    return "".join(f"{line}\n" for command in said for line in lines(command))


def table_text(table: Table) -> str:
    """The text that makes the whole table."""
    return text(whole(table))


def number_of_lines(command: Command, elements: int | None = None) -> int:
    """How many lines a command takes, or as many as are full before its element of that number."""
    match command:
        case ReplaceTable():
            return 3
        case AddElements() | RemoveElements():
            return -(-len(command.elements) // BATCH) if elements is None else elements // BATCH
        case _:
            return 1


def place(said: Sequence[Command], index: int, element: int = 0) -> str:
    """`line 4: add rule ...`: the command of that index, of which this element, and where it is in the text."""
    command = said[index]
    line = 1 + sum(number_of_lines(each) for each in said[:index])
    match command:
        case AddElements(elements=new):
            line += number_of_lines(command, element)
            command = msgspec.structs.replace(command, elements=new[element : element + 1])
        case RemoveElements(elements=gone):
            line += number_of_lines(command, element)
            command = msgspec.structs.replace(command, elements=gone[element : element + 1])
    try:
        shown = next(lines(command), "")
    except Broken:  # it cannot be said in nft's words either
        shown = repr(command)
    return f"line {line}: {shown[:300]}"


def lines(command: Command) -> Iterator[str]:
    """What `number_of_lines` counts."""
    match command:
        case ReplaceTable():
            yield f"add table {FAMILY} {TABLE}"
            yield f"delete table {FAMILY} {TABLE}"
            yield f"add table {FAMILY} {TABLE}"
        case KeepTable():
            yield f"add table {FAMILY} {TABLE}"
        case FlushSet(set=declared):
            word = "map" if declared.verdicts or declared.data else "set"
            yield f"flush {word} {FAMILY} {TABLE} {declared.name}"
        case AddSet(set=declared):
            yield _set(declared)
        case AddChain(chain=chain):
            hook = chain.hook
            base = f" {{ type {hook.kind} hook {hook.point} priority {hook.priority}; policy accept; }}" if hook else ""
            yield f"add chain {FAMILY} {TABLE} {chain.name}{base}"
        case RemoveElements(set=declared, elements=gone):
            keys = [_element(element, declared.key) for element in gone]
            yield from _element_lines("delete", declared.name, keys)
        case AddElements(set=declared, elements=new, seconds=seconds):
            lifetime = f" timeout {seconds}s" if seconds else ""
            pairs = [_element(element, declared.key) + lifetime + _mapped(value) for element, value in new]
            yield from _element_lines("add", declared.name, pairs)
        case FlushChain(chain=name):
            yield f"flush chain {FAMILY} {TABLE} {name}"
        case AddRule(chain=name, rule=rule):
            yield f"add rule {FAMILY} {TABLE} {name} {rule_text(rule)}"
        case RemoveChain(chain=name):
            yield f"delete chain {FAMILY} {TABLE} {name}"
        case RemoveSet(set=name):
            yield f"delete set {FAMILY} {TABLE} {name}"


def rule_text(rule: Rule) -> str:
    words = " ".join(_statement(statement) for statement in rule.statements)
    return f"{words} comment {_quoted(rule.comment)}" if rule.comment else words


def _set(declared: NamedSet) -> str:
    data = "verdict" if declared.verdicts else " . ".join(part.word for part in declared.data)
    key = " . ".join(part.word for part in declared.key) + (f" : {data}" if data else "")
    flags = ",".join(word for word in ("interval", "dynamic", "timeout") if getattr(declared, word))
    more = (f" flags {flags};" if flags else "") + (f" size {DYNAMIC_SIZE};" if declared.dynamic else "")
    more += " counter;" if declared.counted else ""
    return f"add {'map' if data else 'set'} {FAMILY} {TABLE} {declared.name} {{ type {key};{more} }}"


def _element_lines(verb: str, name: str, elements: list[str]) -> Iterator[str]:
    for start in range(0, len(elements), BATCH):
        yield f"{verb} element {FAMILY} {TABLE} {name} {{ {', '.join(elements[start : start + BATCH])} }}"


def _statement(statement: Statement) -> str:
    match statement:
        case Equal(field=Field.SOURCE_PORT | Field.DESTINATION_PORT as field, value=int() as port, negated=True):
            # As a range: nft 1.0.6 makes of `sport != a` beside `dport != b` one comparison of both, which is true when
            # either differs, so that a forbidden port passes (tests/scenarios/not-ports-on-both-sides.yaml).
            return f"{field.word} != {port}-{port}"
        case Equal(field=field, value=value, negated=negated):
            return f"{field.word} {'!= ' if negated else ''}{_atom(value, field.type)}"
        case NameBegins(field=field, prefix=prefix):
            return f"{field.word} {_quoted(prefix + '*')}"
        case OneOf(fields=fields, elements=elements, negated=negated):
            types = tuple(field.type for field in fields)
            listed = ", ".join(_element(element, types) for element in elements)
            return f"{_key(fields)} {'!= ' if negated else ''}{{ {listed} }}"
        case InSet(fields=fields, set=name, negated=negated):
            return f"{_key(fields)} {'!= ' if negated else ''}@{name}"
        case ByMap(fields=fields, map=name):
            return f"{_key(fields)} vmap @{name}"
        case Choose(field=field, choices=choices):
            listed = ", ".join(f"{_atom(value, field.type)} : {_verdict(verdict)}" for value, verdict in choices)
            return f"{field.word} vmap {{ {listed} }}"
        case OpensTcp():
            return "tcp flags & (syn | ack) == syn"
        case Marked(bit=bit):
            return f"meta mark & {bit:#010x} == {bit:#010x}"
        case SetMark(bit=bit):
            return f"meta mark set meta mark | {bit:#010x}"
        case ClearMark(bit=bit):
            return f"meta mark set meta mark & {bit ^ 0xFFFFFFFF:#010x}"
        case NoTrack():
            return "notrack"
        case Limit():
            return _limit(statement)
        case Reject(reset=reset):
            return "reject with tcp reset" if reset else "reject with icmpx admin-prohibited"
        case Counter():
            return "counter"
        case Log(prefix=prefix):
            return f"log prefix {_quoted(prefix)}"
        case PacketsOver(field=field, set=name, limit=limit):
            return f"update @{name} {{ {field.word} timeout {IDLE}s {_limit(limit, 'over ')} }}"
        case ConnectionsOver(field=field, set=name, number=number):
            return f"add @{name} {{ {field.word} ct count over {number} }}"
        case SetDscp(family=family, value=value):
            return f"{'ip' if family == 4 else 'ip6'} dscp set {value}"
        case Masquerade(ports=ports):
            return f"masquerade to :{_atom(ports, Type.PORT)}" if ports else "masquerade"
        case SourceNat(address=address, ports=ports):
            return f"snat ip to {address}" + (f":{_atom(ports, Type.PORT)}" if ports else "")
        case Translate(field=field, map=name):
            kind = "snat" if field in (Field.SOURCE4, Field.SOURCE6) else "dnat"
            return f"{kind} {field.word.split()[0]} to {field.word} map @{name}"
        case Redirect(family=family, fields=fields, map=name):
            return f"dnat {'ip' if family == 4 else 'ip6'} to {_key(fields)} map @{name}"
        case Verdict():
            return _verdict(statement)


def _limit(limit: Limit, over: str = "") -> str:
    return f"limit rate {over}{limit.number}/{limit.unit} burst {limit.burst} packets"


def _key(fields: tuple[Field, ...]) -> str:
    return " . ".join(field.word for field in fields)


def _verdict(verdict: Verdict) -> str:
    return f"{verdict.ruling} {verdict.chain}" if verdict.ruling in (Ruling.JUMP, Ruling.GOTO) else str(verdict.ruling)


def _mapped(value: Mapped) -> str:
    match value:
        case None:
            return ""
        case Verdict():
            return f" : {_verdict(value)}"
        case Noted(comment=comment):
            return f" comment {_quoted(comment)}"
        case (address, port):
            return f" : {address.partition('/')[0]} . {port}"
        case str():
            return f" : {value.partition('/')[0]}"


def _element(element: Element, types: tuple[Type, ...]) -> str:
    atoms = element if isinstance(element, tuple) else (element,)
    return " . ".join(_atom(atom, type_) for atom, type_ in zip(atoms, types, strict=True))


def _atom(atom: Atom, type_: Type) -> str:
    match atom:
        case CtState():
            return atom.name.lower()
        case Span(first=first, last=last) if type_ in _ADDRESSES:
            return "-".join(str(_ADDRESSES[type_](end)) for end in (first, last))
        case Span(first=first, last=last):
            return f"{first}-{last}"
        case str() if type_ is Type.INTERFACE:
            return _quoted(atom)
        case str():
            return atom.partition("/")[0] if is_host(Cidr(atom)) else atom
        case int():
            return _FAMILIES[atom] if type_ is Type.FAMILY else str(atom)


_FAMILIES = {4: "ipv4", 6: "ipv6"}
_ADDRESSES = {Type.ADDRESS4: IPv4Address, Type.ADDRESS6: IPv6Address}


def _quoted(words: str) -> str:
    if not words.isprintable() or any(letter in words for letter in '"\\$'):
        raise Broken(f"{words!r} cannot be quoted for nft")
    return f'"{words}"'
