"""BGPFilters in BIRD's filter language: one function for each filter, direction and family.

BIRD ends a route's way through a filter at the first `accept` or `reject`, in whatever function it stands. That is
just what a BGPFilter means: the first rule that matches decides, and a route that no rule matches falls through to
the next filter, at last to the default of the direction. So each rule becomes one `if`, in order, and nothing else.

Priority, in Calico's sense, is a metric (`krt_metric`). Between hosts of one AS it travels as local preference:
2147483647 minus the metric, so that the better metric wins there too.
"""

from __future__ import annotations

import hashlib
import re

from muslin.intent import BgpFilter, BgpFilterRule

LARGEST = 2147483647
_LONGEST_SYMBOL = 64

_OPPOSITE = {"NotEqual": "Equal", "NotIn": "In"}


def functions(filters: tuple[BgpFilter, ...], version: int) -> list[str]:
    """Lines that define what `call` calls."""
    lines: list[str] = []
    for written in filters:
        for direction, rules in (("in", written.imports), ("out", written.exports)):
            own = [rule for rule in rules if rule.version == version]
            if own:
                lines += [f"function {symbol(direction, version, written.name)}(bool same_as)  # BGPFilter",
                          "{", *(f"  {_statement(rule)}" for rule in own), "}", ""]
    return lines


def call(written: BgpFilter, direction: str, version: int, *, internal: bool) -> str:
    """The statement that sends a route through the filter, "" when it has no rules there."""
    rules = written.imports if direction == "in" else written.exports
    if not any(rule.version == version for rule in rules):
        return ""
    return f"{symbol(direction, version, written.name)}({'true' if internal else 'false'});"


def symbol(direction: str, version: int, name: str) -> str:
    """A BIRD symbol for a filter's function. Long or strange names are cut and told apart by a hash."""
    prefix = f"{direction}{version}_"
    room = _LONGEST_SYMBOL - len(prefix)
    plain = re.sub(r"[^A-Za-z0-9_.:-]", "_", name)
    if plain != name or len(plain) > room:
        digest = hashlib.sha256(name.encode()).hexdigest()[:10]
        plain = f"{plain[:room - 11]}_{digest}"
    return f"'{prefix}{plain}'"


def _statement(rule: BgpFilterRule) -> str:
    conditions = _conditions(rule)
    verdict = "accept;" if rule.action == "Accept" else "reject;"
    body = " ".join([*_operations(rule), verdict])
    return f"if {' && '.join(conditions)} then {{ {body} }}" if conditions else body


def _conditions(rule: BgpFilterRule) -> list[str]:
    conditions = []
    if rule.peer_type:
        conditions.append("same_as" if rule.peer_type == "iBGP" else "!same_as")
    if rule.cidr is not None:
        conditions.append(_prefix(rule))
    if rule.source == "RemotePeers":
        conditions.append("source = RTS_BGP")
    if rule.interface:
        conditions.append(f"(defined(ifname) && ifname ~ {quoted(rule.interface)})")
    conditions += [f"{_pair(value)} ~ {_attribute(value)}" for value in rule.communities]
    if rule.as_path_prefix:
        conditions.append(f"bgp_path ~ [= {' '.join(map(str, rule.as_path_prefix))} * =]")
    if rule.priority is not None:
        conditions.append(f"krt_metric = {rule.priority}")
    return conditions


def _prefix(rule: BgpFilterRule) -> str:
    """`In`: inside the prefix or equal to it, with a length that counts. `Equal`: the very same."""
    own = int(str(rule.cidr).rpartition("/")[2])
    first, last = rule.prefix_length or (own, own)
    if _OPPOSITE.get(rule.match_operator, rule.match_operator) == "In":
        lengths = "+" if rule.prefix_length is None else f"{{{first},{last}}}"
        positive = f"net ~ [ {rule.cidr}{lengths} ]"
    else:
        positive = f"net = {rule.cidr}" if first <= own <= last else "false"
    return f"!({positive})" if rule.match_operator in _OPPOSITE else positive


def _operations(rule: BgpFilterRule) -> list[str]:
    statements = [f"{_attribute(value)}.add({_pair(value)});" for value in rule.add_communities]
    # BIRD prepends one at a time, so the last one prepended comes to stand first.
    statements += [f"bgp_path.prepend({number});" for number in reversed(rule.prepend_as_path)]
    if rule.set_priority is not None:
        statements.append(f"krt_metric = {rule.set_priority}; bgp_local_pref = {LARGEST - rule.set_priority};")
    return statements


def _attribute(community: str) -> str:
    return "bgp_large_community" if community.count(":") == 2 else "bgp_community"


def _pair(community: str) -> str:
    return f"({community.replace(':', ', ')})"


def quoted(text: str) -> str:
    """A BIRD string. It knows no escapes, so what cannot stand in one becomes an underscore."""
    return '"' + re.sub(r'["\x00-\x1f\x7f]', "_", text) + '"'


def tag(communities: tuple[str, ...]) -> str:
    """Statements that add communities to a route."""
    return " ".join(f"{_attribute(value)}.add({_pair(value)});" for value in communities)
