"""From the words of a policy's rules to rules that name nothing any more: numbers, prefixes and set ids.

Each side of a rule may name endpoints in four ways at once: by selector, by namespace, by service account, and by
excluding some. Calico folds them into ONE selector, and so ONE set, per side:

    namespaceSelector   asked of the labels that the namespace hands down (`pcns.`); `all()` means in any namespace,
                        `global()` in none. A policy in a namespace that gives none means its own namespace, as soon as
                        any of the other words is there
    serviceAccounts     names, and a selector over `pcsa.` labels
    selector            own and inherited labels
    notSelector         with any of the words above: takes members out of that one set. Alone, in a global policy: what
                        is no member of its set, so addresses that nobody knows match too

Port names become sets of (address, protocol, port). They are limited to the side's own selector, and if every port is a
name they stand for the selector as well. Where a side has no selector, but is the own endpoint of a policy that has a
namespace (destination of ingress, source of egress), the set is limited to the endpoints that the policy selects: it
decides the same, and does not hold the whole cluster. A global policy may stand at a host endpoint, and what that one
forwards is for others: there a port name is anybody's.

A service stands alone on its side: as destination it means the (address, protocol, port) behind it, as source the
addresses behind it. In a policy of a namespace it is of that namespace, unless it says another.

A rule that cannot be read, or that asks for what muslin cannot enforce (HTTP), must not be left out: the rules after it
would open what it closes. So the whole policy denies, and says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from muslin.calc.definitions import SetDefinition, address_set, port_set, service_set
from muslin.errors import Invalid
from muslin.intent import Action, Direction, Icmp, Match, Origin, Rule, SetId
from muslin.model import policy
from muslin.model.labels import NAMESPACE, SERVICE_ACCOUNT, SERVICE_ACCOUNT_PREFIX
from muslin.model.selector import ALL, Selector, both, parse
from muslin.model.selector.expression import Compare, Operator
from muslin.net import PROTOCOLS_WITH_PORTS, Cidr, parse_cidr, protocol_number

_PROTOCOLS_OF_NAMES = (6, 17, 132)
"""TCP, UDP, SCTP: in which a port's name is looked for where a rule names no protocol."""
_ACTIONS = {action.value: action for action in Action}
_LONGEST_LOG_PREFIX = 125
"""nftables takes 127, and a colon and a blank follow."""
_PORT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_QUOTED = re.compile(r"""("[^"]*"|'[^']*')""")


class Compiler:
    """Compiles the rules of one policy, and gathers the sets that they use."""

    def __init__(self, namespace: str, scope: Selector) -> None:
        self._namespace = namespace
        self._scope = scope
        self.sets: dict[SetId, SetDefinition] = {}

    def rule(self, rule: policy.Rule, origin: Origin) -> Rule:
        """Raises Invalid."""
        if rule.action not in _ACTIONS:
            raise Invalid(f"action {rule.action!r} is not one of {', '.join(_ACTIONS)}")
        if rule.http is not None:
            raise Invalid("http: muslin does not look into HTTP; remove it, or match by port")
        if rule.ip_version not in (None, 4, 6):
            raise Invalid(f"ipVersion {rule.ip_version} is neither 4 nor 6")
        protocol = _protocol("protocol", rule.protocol)
        action = _ACTIONS[rule.action]
        return Rule(
            action=action,
            origin=origin,
            ip_version=rule.ip_version,
            protocol=protocol,
            not_protocol=_protocol("notProtocol", rule.not_protocol),
            icmp=_icmp("icmp", rule.icmp),
            not_icmp=_icmp("notICMP", rule.not_icmp),
            source=self._side(SOURCE, rule.source, protocol, own=origin.direction is Direction.EGRESS),
            destination=self._side(DESTINATION, rule.destination, protocol,
                                   own=origin.direction is Direction.INGRESS),
            log_prefix=_log_prefix(origin) if action is Action.LOG else "",
        )

    def _side(self, name: str, side: policy.EntityRule, protocol: int | None, *, own: bool) -> Match:
        if side == _ANYTHING:
            return _MATCH_ANYTHING
        try:
            if side.services is None:
                return self._match(side, protocol, own=own)
            if own:
                raise Invalid("services: the endpoint that the policy selects stands here; name services opposite")
            return self._behind(side, side.services, protocol, with_ports=name == DESTINATION)
        except ValueError as error:
            raise Invalid(f"{name}.{error}") from None

    def _match(self, side: policy.EntityRule, protocol: int | None, *, own: bool) -> Match:
        ports, names = _ports("ports", side.ports)
        not_ports, not_names = _ports("notPorts", side.not_ports)
        named = (protocol,) if protocol is not None else _PROTOCOLS_OF_NAMES
        if (side.ports or side.not_ports) and protocol not in PROTOCOLS_WITH_PORTS and (
                protocol is not None or ports or not_ports):
            raise Invalid("ports: without protocol TCP, UDP or SCTP there are no ports; name the protocol")
        chosen, excluded = _selectors(side, self._namespace)
        holders = chosen or (self._scope if own else ALL)
        # Names alone already mean the chosen endpoints. Numbers do not, so that the selector is asked beside them.
        asked = chosen is not None and (bool(ports) or not names)
        return Match(
            nets=_nets("nets", side.nets),
            not_nets=_nets("notNets", side.not_nets),
            sets=self._use(address_set(chosen)) if asked and chosen is not None else (),
            not_sets=self._use(address_set(excluded)) if excluded is not None else (),
            ports=ports,
            named_ports=self._use(*(port_set(holders, port, number) for port in names for number in named)),
            not_ports=not_ports,
            not_named_ports=self._use(*(port_set(holders, port, number) for port in not_names for number in named)),
        )

    def _behind(
        self, side: policy.EntityRule, service: policy.ServiceMatch, protocol: int | None, *, with_ports: bool
    ) -> Match:
        """Whoever is behind the service, and at its ports if it is the destination."""
        ports = policy.EntityRule() if with_ports else policy.EntityRule(ports=side.ports, not_ports=side.not_ports)
        if msgspec.structs.replace(ports, services=service) != side:
            raise Invalid("services: a service says by itself who is meant; remove what stands beside it")
        namespace = service.namespace or self._namespace
        if not service.name or not namespace:
            raise Invalid(f"services: no {'namespace' if service.name else 'name'} is given; write it")
        used = self._use(service_set(f"{namespace}/{service.name}", with_ports=with_ports))
        if with_ports:
            return Match(named_ports=used)
        return msgspec.structs.replace(self._match(ports, protocol, own=False), sets=used)

    def _use(self, *definitions: SetDefinition) -> tuple[SetId, ...]:
        for definition in definitions:
            self.sets[definition.id] = definition
        return tuple(definition.id for definition in definitions)


SOURCE, DESTINATION = "source", "destination"
_ANYTHING = policy.EntityRule()
_MATCH_ANYTHING = Match()


def compiled(
    ingress: Iterable[policy.Rule], egress: Iterable[policy.Rule], namespace: str, scope: Selector, origin: Origin
) -> tuple[tuple[Rule, ...], tuple[Rule, ...], tuple[SetDefinition, ...]]:
    """(ingress rules, egress rules, sets they use). Raises Invalid that names every rule that cannot be used."""
    compiler = Compiler(namespace, scope)
    faults: list[str] = []

    def rules(direction: Direction, given: Iterable[policy.Rule]) -> tuple[Rule, ...]:
        done = []
        for index, rule in enumerate(given):
            where = Origin(kind=origin.kind, name=origin.name, namespace=origin.namespace, tier=origin.tier,
                           direction=direction, rule=index)
            try:
                done.append(compiler.rule(rule, where))
            except Invalid as error:
                faults.append(f"spec.{direction}[{index}].{error}")
        return tuple(done)

    both_ways = rules(Direction.INGRESS, ingress), rules(Direction.EGRESS, egress)
    if faults:
        raise Invalid("; ".join(faults))
    return *both_ways, tuple(compiler.sets.values())


@lru_cache(maxsize=4096)
def read(text: str) -> Selector:
    """A selector; "" selects everything. Raises Invalid."""
    return parse(text) if text.strip() else ALL


def selector(name: str, text: str) -> Selector:
    """As `read`, with the name of the field in the message. Raises Invalid."""
    try:
        return read(text)
    except ValueError as error:
        raise Invalid(f"{name}: {error}") from None


def in_namespace(namespace: str) -> Selector:
    """What lives in this namespace."""
    return Selector(Compare(NAMESPACE, Operator.EQUALS, namespace))


def of_service_accounts(chosen: Selector, *, all_means: str = "") -> Selector:
    """Asked of the labels that a service account hands down. `all_means`: the label that `all()` demands instead."""
    prefixed = chosen.prefixed(SERVICE_ACCOUNT_PREFIX)
    if not all_means:
        return prefixed
    pieces = _QUOTED.split(str(prefixed))
    pieces[::2] = [piece.replace("all()", f"has({all_means})") for piece in pieces[::2]]
    return parse("".join(pieces), longest=None)


def without(chosen: Selector, excluded: Selector) -> Selector:
    """What `chosen` selects and `excluded` does not."""
    return both(chosen, parse(f"!({excluded})", longest=None))


def _selectors(side: policy.EntityRule, namespace: str) -> tuple[Selector | None, Selector | None]:
    """(endpoints that the side names, endpoints that it excludes where it names none)"""
    parts: list[Selector] = []
    if side.service_accounts is not None:
        parts += _service_accounts(side.service_accounts)
    if side.selector:
        parts.append(selector("selector", side.selector))
    excluded = selector("notSelector", side.not_selector) if side.not_selector else None
    if side.namespace_selector:
        parts.insert(0, selector("namespaceSelector", side.namespace_selector).of_namespaces())
    elif namespace and (parts or excluded is not None):
        parts.insert(0, in_namespace(namespace))
    if not parts:
        return None, excluded
    chosen = parts[0]
    for part in parts[1:]:
        chosen = both(chosen, part)
    return (chosen if excluded is None else without(chosen, excluded)), None


def _service_accounts(match: policy.ServiceAccountMatch) -> list[Selector]:
    parts = []
    if match.selector:
        parts.append(of_service_accounts(selector("serviceAccounts.selector", match.selector)))
    if match.names:
        names = ", ".join(f"'{name}'" for name in match.names)
        try:
            parts.append(parse(f"{SERVICE_ACCOUNT} in {{{names}}}", longest=None))
        except ValueError as error:
            raise Invalid(f"serviceAccounts.names: {error}") from None
    return parts


def _protocol(name: str, value: int | str | None) -> int | None:
    try:
        return None if value is None else protocol_number(value)
    except ValueError as error:
        raise Invalid(f"{name}: {error}") from None


def _icmp(name: str, icmp: policy.ICMP | None) -> Icmp | None:
    if icmp is None or (icmp.type is None and icmp.code is None):
        return None
    if icmp.type is None:
        raise Invalid(f"{name}: a code without a type says nothing; add the type")
    if not 0 <= icmp.type <= 255 or not 0 <= (icmp.code or 0) <= 255:
        raise Invalid(f"{name}: type and code are 0..255")
    return Icmp(type=icmp.type, code=icmp.code)


def _nets(name: str, nets: Iterable[str]) -> tuple[Cidr, ...]:
    try:
        return tuple(dict.fromkeys(parse_cidr(net) for net in nets))
    except ValueError as error:
        raise Invalid(f"{name}: {error}") from None


def _ports(name: str, ports: Iterable[int | str]) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """(ranges, names)"""
    ranges: list[tuple[int, int]] = []
    names: list[str] = []
    for port in ports:
        first, colon, last = str(port).partition(":")
        if not first.isascii() or not first.isdigit():
            if isinstance(port, int) or not _PORT_NAME.fullmatch(str(port)):
                raise Invalid(f"{name}: {port!r} is no port; write a number, first:last, or the name of a port")
            names.append(first)
            continue
        if colon and not (last.isascii() and last.isdigit()):
            raise Invalid(f"{name}: {port!r} is no range of ports; write first:last")
        low, high = int(first), int(last or first)
        if not low <= high <= 65535:
            raise Invalid(f"{name}: {port!r} is not within 0..65535, the smaller first")
        ranges.append((low, high))
    return tuple(ranges), tuple(dict.fromkeys(names))


def _log_prefix(origin: Origin) -> str:
    """What the kernel writes before the packet, where no configuration says another word: tier, policy and rule, so
    that a line can be traced by grep."""
    where = f"{origin.namespace}/{origin.name}" if origin.namespace else origin.name
    head = f"muslin {origin.tier}/{where}"
    tail = f" {origin.direction}[{origin.rule}]"
    return head[: _LONGEST_LOG_PREFIX - len(tail)] + tail
