"""BGPFilters, read once: what the user wrote becomes numbers and prefixes that BIRD will take.

A filter stands between a host and its peers, so a filter that can only be half understood must not be half applied:
one rule that is dropped in silence may be the one that keeps a route in. Rule: a filter with a fault is no filter;
the fault is told, and the peerings that name it are not set up (see `bgp_peerings`).
"""

from __future__ import annotations

from collections.abc import Mapping

from muslin.calc.bgp_nodes import Faults, note, parse_as
from muslin.errors import Invalid
from muslin.intent import BgpFilter, BgpFilterRule
from muslin.model.meta import ResourceKey
from muslin.model.network import BGPFilter, FilterOperation, FilterPrefixLength, FilterRule
from muslin.net import Cidr, bounds, parse_cidr, version_of

OPERATORS = ("Equal", "NotEqual", "In", "NotIn")
_LARGEST_METRIC = 2147483646


def bgp_filters(filters: Mapping[str, BGPFilter], faults: Faults) -> dict[str, BgpFilter]:
    """Every filter without fault, by name."""
    readable: dict[str, BgpFilter] = {}
    for name in sorted(filters):
        try:
            readable[name] = _filter(name, filters[name])
        except Invalid as fault:
            note(faults, ResourceKey("BGPFilter", "", name), str(fault))
    return readable


def _filter(name: str, written: BGPFilter) -> BgpFilter:
    spec = written.spec
    return BgpFilter(
        name=name,
        imports=_rules("importV4", 4, spec.import_v4) + _rules("importV6", 6, spec.import_v6),
        exports=_rules("exportV4", 4, spec.export_v4) + _rules("exportV6", 6, spec.export_v6),
    )


def _rules(where: str, version: int, written: tuple[FilterRule, ...]) -> tuple[BgpFilterRule, ...]:
    rules = []
    for index, rule in enumerate(written):
        try:
            rules.append(_rule(version, rule))
        except Invalid as fault:
            raise Invalid(f"spec.{where}[{index}]: {fault}") from None
    return tuple(rules)


def _rule(version: int, rule: FilterRule) -> BgpFilterRule:
    _check_words(rule)
    cidr = _cidr(version, rule)
    return BgpFilterRule(
        version=version,
        action=rule.action,
        cidr=cidr,
        match_operator=rule.match_operator,
        prefix_length=None if cidr is None or rule.prefix_length is None else _lengths(cidr, rule.prefix_length),
        source=rule.source,
        interface=rule.interface,
        peer_type=rule.peer_type,
        communities=() if rule.communities is None else tuple(parse_community(v) for v in rule.communities.values),
        as_path_prefix=tuple(parse_as(number) for number in rule.as_path_prefix),
        priority=rule.priority,
        add_communities=tuple(
            parse_community(operation.add_community.value)
            for operation in rule.operations if operation.add_community is not None
        ),
        prepend_as_path=_prepended(rule.operations),
        set_priority=next(
            (operation.set_priority.value for operation in reversed(rule.operations) if operation.set_priority), None
        ),
    )


def _check_words(rule: FilterRule) -> None:
    if rule.action not in ("Accept", "Reject"):
        raise Invalid(f"action {rule.action!r} is neither Accept nor Reject")
    if bool(rule.cidr) != bool(rule.match_operator):
        raise Invalid("cidr and matchOperator go together: write both or neither")
    if rule.match_operator and rule.match_operator not in OPERATORS:
        raise Invalid(f"matchOperator {rule.match_operator!r} is none of {', '.join(OPERATORS)}")
    if rule.source not in ("", "RemotePeers"):
        raise Invalid(f"source {rule.source!r} is not RemotePeers")
    if rule.peer_type not in ("", "eBGP", "iBGP"):
        raise Invalid(f"peerType {rule.peer_type!r} is neither eBGP nor iBGP")
    if rule.operations and rule.action != "Accept":
        raise Invalid("operations change routes that are accepted: with Reject they have no meaning")
    if not all(_is_one_change(operation) for operation in rule.operations):
        raise Invalid("an operation is exactly one of addCommunity, prependASPath and setPriority")
    if '"' in rule.interface or "\n" in rule.interface:
        raise Invalid(f"interface {rule.interface!r} is not an interface name or pattern")
    if not all(_is_metric(value) for value in (rule.priority, *_priorities(rule.operations))):
        raise Invalid(f"a priority is a number in 1..{_LARGEST_METRIC}")


def _is_one_change(operation: FilterOperation) -> bool:
    set_priority = operation.set_priority is not None and operation.set_priority.value is not None
    return [operation.add_community is not None, operation.prepend_as_path is not None, set_priority].count(True) == 1


def _priorities(operations: tuple[FilterOperation, ...]) -> tuple[int | None, ...]:
    return tuple(operation.set_priority.value for operation in operations if operation.set_priority is not None)


def _is_metric(value: int | None) -> bool:
    return value is None or 1 <= value <= _LARGEST_METRIC


def _cidr(version: int, rule: FilterRule) -> Cidr | None:
    if not rule.cidr:
        if rule.prefix_length is not None:
            raise Invalid("prefixLength narrows a cidr: write cidr and matchOperator too")
        return None
    try:
        cidr = parse_cidr(rule.cidr)
    except ValueError as error:
        raise Invalid(f"cidr: {error}") from None
    if version_of(cidr) != version:
        raise Invalid(f"cidr {rule.cidr!r} is not IPv{version}")
    return cidr


def _lengths(cidr: Cidr, wanted: FilterPrefixLength) -> tuple[int, int]:
    """First and last length that count. Never shorter than the prefix itself."""
    own = int(cidr.rpartition("/")[2])
    longest = 128 if bounds(cidr)[0] == 6 else 32
    for value in (wanted.min, wanted.max):
        if value is not None and not 0 <= value <= longest:
            raise Invalid(f"prefixLength {value} is outside 0..{longest}")
    first = own if wanted.min is None else max(own, wanted.min)
    last = longest if wanted.max is None else wanted.max
    if first > last:
        raise Invalid(f"prefixLength: nothing inside {cidr} is as short as /{last}")
    return first, last


def _prepended(operations: tuple[FilterOperation, ...]) -> tuple[int, ...]:
    """All prepends together; a later one comes to stand in front of an earlier one."""
    path: tuple[int, ...] = ()
    for operation in operations:
        if operation.prepend_as_path is not None:
            path = tuple(parse_as(number) for number in operation.prepend_as_path.prefix) + path
    return path


def parse_community(text: str) -> str:
    """Canonical `aa:nn` (16 bits each) or `aa:nn:mm` (32 bits each). Raises Invalid."""
    parts = text.split(":")
    highest = {2: 65535, 3: 4294967295}.get(len(parts))
    if highest is None or not all(part.isascii() and part.isdigit() for part in parts):
        raise Invalid(f"community {text!r} is neither aa:nn nor aa:nn:mm")
    numbers = tuple(int(part) for part in parts)
    if max(numbers) > highest:
        raise Invalid(f"community {text!r}: each part is at most {highest}")
    return ":".join(map(str, numbers))


def is_community(text: str) -> bool:
    """Is it a value rather than a name of one?"""
    return text.replace(":", "").isdigit() and text.count(":") in (1, 2)
