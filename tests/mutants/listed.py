"""The mutants, room by room. Each is a mistake that somebody could make in an afternoon."""

from __future__ import annotations

from mutants.runner import Mutant

NFT = ("--backend", "nftables")
LEGACY = ("--backend", "iptables-legacy")
BOTH = ("--backend", "nftables", "--backend", "iptables-nft")
LONG = ("--worlds", "300")
"""For mistakes that few worlds show."""
CHANGES = ("--drift", "--worlds", "25", "--backend", "nftables")

AGREE, STAGED, INCREMENTAL, ORDER, REFUSED, LEAK = "agree", "staged", "incremental", "order", "refused", "leak"

CALC = (
    Mutant("the last port of a range is left out", AGREE, "calc/rules.py",
           "ranges.append((low, high))", "ranges.append((low, max(low, high - 1)))"),
    Mutant("notSelector beside a selector is dropped", AGREE, "calc/rules.py",
           "return (chosen if excluded is None else without(chosen, excluded)), None", "return chosen, None"),
    Mutant("a namespaced rule selects in all namespaces", AGREE, "calc/rules.py",
           "elif namespace and (parts or excluded is not None):", "elif False:", (*LONG, "--seed", "5")),
    Mutant("a number beside a name forgets the selector", AGREE, "calc/rules.py",
           "asked = chosen is not None and (bool(ports) or not names)", "asked = chosen is not None and not names",
           (*LONG, "--seed", "6")),
    Mutant("a named port is anybody's", AGREE, "calc/rules.py",
           "holders = chosen or (self._scope if own else ALL)", "holders = ALL", ("tests/calc/test_calc_rules.py",)),
    Mutant("a tier's default action is ignored", AGREE, "calc/groups.py",
           "default_action=default_action or self._tiers.get(name, _UNDECLARED).default_action,",
           "default_action=default_action or Action.DENY,"),
    Mutant("tiers go by name", AGREE, "calc/groups.py",
           "for name in sorted(by_tier, key=lambda name: _place(name, self._tiers))", "for name in sorted(by_tier)"),
    Mutant("policies go by name", AGREE, "calc/groups.py",
           "sorted(by_tier[name], key=_rank)", "sorted(by_tier[name], key=lambda policy: policy.rank[1])"),
    Mutant("profiles go by name", AGREE, "calc/groups.py",
           "for name in dict.fromkeys(profiles))", "for name in sorted(set(profiles)))"),
    Mutant("every policy applies on forward", AGREE, "calc/groups.py",
           "if policy.forward and policy.passage is Passage.NORMAL:", "if policy.passage is Passage.NORMAL:"),
    Mutant("a tier ends untracked policy", AGREE, "calc/groups.py",
           "untracked_ingress=unless_empty(untracked, Direction.INGRESS, Action.PASS, Action.PASS)",
           "untracked_ingress=unless_empty(untracked, Direction.INGRESS, None, Action.PASS)"),
    Mutant("what passes all forward tiers is denied", AGREE, "calc/groups.py",
           "forward_ingress=unless_empty(forward, Direction.INGRESS, None, Action.ALLOW)",
           "forward_ingress=unless_empty(forward, Direction.INGRESS, None, Action.DENY)"),
    Mutant("the last name covers the interface", AGREE, "calc/binding.py",
           "for key in sorted(given):", "for key in sorted(given, reverse=True):"),
    Mutant("egress rules alone isolate ingress too", AGREE, "calc/policies.py",
           "return frozenset(found | {Direction.INGRESS} if ingress or not egress else found)",
           "return frozenset(found | {Direction.INGRESS})"),
    Mutant("a failsafe forgets its prefix", AGREE, "calc/felix.py",
           'given.port, parse_cidr(given.net) if given.net else ""', 'given.port, ""'),
    Mutant("a staged policy is enforced", STAGED, "calc/policies.py",
           "egress=outwards, staged=key.kind in STAGED)", "egress=outwards)", LONG),
)

RENDER = (
    Mutant("notSelector means selector", AGREE, "render/matching.py",
           "return (tuple(InSet((field,), part, True) for part in _parts(name, scope)),)",
           "return (tuple(InSet((field,), part) for part in _parts(name, scope)),)", NFT),
    Mutant("prefixes of a set are left out", AGREE, "render/matching.py",
           "return (hosts, scope.names.net_set(name, scope.family)) if scope.family in scope.shapes[name].nets else "
           "(hosts,)", "return (hosts,)", NFT),
    Mutant("notNets of one family do not silence the other", AGREE, "render/matching.py",
           "lists = (rule.source.nets, rule.source.not_nets, rule.destination.nets, rule.destination.not_nets)",
           "lists = (rule.source.nets, rule.destination.nets)", NFT),
    Mutant("an ICMP code is ignored", AGREE, "render/matching.py",
           "code = () if icmp.code is None else (Equal(words.icmp_code, icmp.code),)", "code = ()",
           (*NFT, "--worlds", "120")),
    Mutant("a range ends one early", AGREE, "render/matching.py",
           "first if first == last else Span(first, last) for", "first if first == last else Span(first, last - 1) for",
           BOTH),
    Mutant("ipVersion is ignored", AGREE, "render/matching.py",
           "if rule.ip_version not in (None, scope.family) or not", "if not", LEGACY),
    Mutant("nft: Pass is Allow", AGREE, "render/nft/pieces.py",
           "return (Counter(), RETURN)", "return (Counter(), *place.allow)", NFT),
    Mutant("nft: Pass goes on with the next rule", AGREE, "render/nft/pieces.py",
           "yield _Entry(line, passes=rule.action is Action.PASS)", "yield _Entry(line)",
           NFT),
    Mutant("nft: the last port of a range is not looked up", AGREE, "render/nft/merging.py",
           "for port in range(first, last + 1)}", "for port in range(first, last)}",
           ("tests/render/test_nft_merging.py",)),
    Mutant("nft: a range begins one late where another ends", AGREE, "render/nft/reach.py",
           "ends.setdefault(last + 1, []).append(number)", "ends.setdefault(last + 2, []).append(number)",
           ("tests/render/test_nft_merging.py",)),
    Mutant("nft: where ranges meet the later rule comes first", AGREE, "render/nft/reach.py",
           "            insort(active, number)\n", "            active.insert(0, number)\n", NFT),
    Mutant("nft: ports that a rule excludes are those it is looked up by", AGREE, "render/nft/reach.py",
           "_others(ranges) if negated else ranges)", "ranges)", NFT),
    Mutant("nft: not ICMP is looked up as ICMP", AGREE, "render/nft/reach.py",
           "value=int() as number, negated=False):\n            return (number,)",
           "value=int() as number):\n            return (number,)", NFT),
    Mutant("nft: of two policies at one port the first is asked", AGREE, "render/nft/merging.py",
           "        if len(parts) == 1 and len(parts[0][1]) < CROWD:\n", "        if parts:\n",
           (*NFT, "--worlds", "150")),
    Mutant("nft: an address in two sets meets the first rule only", AGREE, "render/nft/peers.py",
           "        if len(found) == 1:\n", "        if found:\n", (*NFT, "--worlds", "150")),
    Mutant("nft: rules for nobody in particular are looked up by peer", AGREE, "render/nft/merging.py",
           "key=lambda single: bool(self._wants(single))):", "key=lambda single: any(map(self._wants, singles))):",
           ("tests/render/test_nft_merging.py",)),
    Mutant("nft: a tier never passes", AGREE, "render/nft/chains.py",
           "    if action is Action.PASS:\n        return ()\n", "", NFT),
    Mutant("nft: a tier of staged policies denies", STAGED, "render/nft/chains.py",
           "        if stage.policies and not enforced:\n            continue\n", "", (*NFT, "--worlds", "120")),
    Mutant("nft: workloads may send IP in IP", AGREE, "render/nft/hooks.py",
           'Rule((Equal(Field.PROTOCOL, IP_IN_IP), *_DROP), "a workload may not send IP in IP"),', "", NFT),
    Mutant("nft: pre-DNAT Allow is forgotten", AGREE, "render/nft/places.py",
           "            case Gate.PRE_DNAT:\n                return (*self.manner.remember, ACCEPT)",
           "            case Gate.PRE_DNAT:\n                return (ACCEPT,)", NFT),
    Mutant("nft: a failsafe forgets its prefix", AGREE, "render/nft/hosts.py",
           'nets += [Cidr(prefix)] if prefix else [Cidr("0.0.0.0/0"), Cidr("::/0")]',
           'nets += [Cidr("0.0.0.0/0"), Cidr("::/0")]', NFT),
    Mutant("nft: untracked policy does not know answers of failsafes", AGREE, "render/nft/hosts.py",
           "        *_failsafe_rules(extent, answered, slot.end, answers=True),\n", "",
           ("tests/kernel/test_scenarios.py",)),
    Mutant("iptables: notSelector means selector", AGREE, "render/iptables/rows.py",
           "case FieldsInSet(fields=(field,), set=name, negated=negated):\n                yield InSet(name, "
           "(_ENDS[field],), negated)",
           "case FieldsInSet(fields=(field,), set=name, negated=negated):\n                yield InSet(name, "
           "(_ENDS[field],), False)", LEGACY),
    Mutant("iptables: Pass is Allow", AGREE, "render/iptables/chains.py",
           "Chain(names.PASS, (Rule((), SetMark(bits.leave, bits.leave)),)),",
           "Chain(names.PASS, (Rule((), SetMark(bits.accept, bits.accept)),)),", LEGACY),
    Mutant("iptables: a failsafe forgets its prefix", AGREE, "render/iptables/hosts.py",
           'address = (Address(peer, Cidr(prefix)),) if prefix and not prefix.endswith("/0") else ()', "address = ()",
           LEGACY),
    Mutant("iptables: what was accepted early is asked again", AGREE, "render/iptables/hosts.py",
           "def input_rules(site: Site) -> Iterator[Rule]:\n    if site.listens_to_marks:\n",
           "def input_rules(site: Site) -> Iterator[Rule]:\n    if False:\n", LEGACY),
)

WIRE = (
    Mutant("wire: an interval ends one early", AGREE, "render/nft/wire/sets.py",
           'behind = int.from_bytes(last, "big") + 1', 'behind = int.from_bytes(last, "big")', NFT),
    Mutant("wire: lookups forget that they are negated", AGREE, "render/nft/wire/expressions.py",
           '(number(5, 1) if negated else b"")', 'b""', NFT),
    Mutant("wire: a range has no end", AGREE, "render/nft/wire/rules.py",
           " + kernel.compare(Comparison.AT_MOST, last)", "", NFT),
    Mutant("wire: a prefix is of whole bytes", AGREE, "render/nft/wire/rules.py",
           "if whole and not bits:", "if whole:", NFT),
    Mutant("wire: a family is asked for once for each address", AGREE, "render/nft/wire/rules.py",
           "        said, family, protocol = _said(one, family, protocol)",
           "        said, _, protocol = _said(one, family, protocol)",
           ("tests/render/test_nft_wire.py::test_a_field_waits_for_what_it_depends_on_and_only_once",)),
)

EXPLAIN = (
    Mutant("explain: the last port of a range is left out", AGREE, "explain/rule.py",
           "any(first <= port <= last for", "any(first <= port < last or port == first for"),
    Mutant("explain: notNets of one family do not silence the other", AGREE, "explain/rule.py",
           "elif all(version_of(net) != version for net in match.not_nets):", "elif False:"),
    Mutant("explain: a tier's default action is ignored", AGREE, "explain/walk.py",
           "Outcome.PASS if stage.default_action is Action.PASS else Outcome.DENY", "Outcome.DENY"),
    Mutant("explain: failsafes forget their prefixes", AGREE, "explain/failsafe.py",
           "and (not prefix or prefix in peer.within)", ""),
    Mutant("explain: what was accepted early is asked again", AGREE, "explain/journey.py",
           "        elif self._accepted:\n            return\n", ""),
    Mutant("explain: a floating address is not translated", AGREE, "explain/translation.py",
           "if external == packet.destination:", "if external == packet.source:"),
)

STEPS = (
    Mutant("nft: who leaves a set stays in the maps by peer", INCREMENTAL, "render/nft/contents.py",
           "        for name, elements in gone.items():\n            self._note(name, elements)\n",
           "        for name, elements in gone.items():\n",
           ("tests/render/test_nft_state.py::test_maps_of_peers_follow_every_sort_of_change",)),
    Mutant("nft: sets that outgrow their map keep it", INCREMENTAL, "render/nft/state.py",
           "        groups |= self._peers.outgrown(moved_members)\n", "",
           ("tests/render/test_nft_state.py::test_maps_of_peers_follow_every_sort_of_change",)),
    Mutant("nft: a group does not hear of its policies' ports", INCREMENTAL, "render/nft/lists.py",
           "        return before != {", "        return False and before != {", CHANGES),
    Mutant("nft: pieces come and go without their policy", INCREMENTAL, "render/nft/lists.py",
           "            self._waiting.add(piece.policy)\n", "",
           ("tests/render/test_nft_state.py::test_a_policy_that_grows_makes_a_lookup_of_its_neighbours_rules_too",)),
    Mutant("nft: members that left stay", INCREMENTAL, "render/nft/book.py",
           "        for element in content.keys() - wanted.keys():\n            self.remove((name, element))\n", "",
           ("tests/render/test_nft_state.py",)),
    Mutant("nft: chains of a policy that is gone stay", INCREMENTAL, "render/nft/book.py",
           "        for name in before - named.keys():\n            self.put_chain(name, None)\n", "", CHANGES),
    Mutant("a change of a policy's scope is not told", INCREMENTAL, "calc/host.py",
           "            self._dirty_policies |= self._set_users.users(set_id)\n", "            pass\n",
           ("tests/calc/test_calc_host.py",)),
)

PROPERTIES = ("tests/calc/test_calc_properties.py::test_neither_order_nor_repetition_nor_squashing_matters",)
ORDERS = (
    Mutant("of two for one interface the first that came has it", ORDER, "calc/places.py",
           "        if member.key < winner.key:\n", "        if False:\n", PROPERTIES),
    Mutant("of two for one address who has it keeps it", ORDER, "calc/places.py",
           "rival.host == member.host and rival.key < member.key and",
           "rival.host == member.host and rival is not member and address in rival.held and", PROPERTIES),
    Mutant("what a slice brought stays when it brings something else", INCREMENTAL, "calc/services.py",
           "        old = self._supplies.pop(key, None)\n", "        old = None\n",
           ("tests/calc/test_calc_services.py",)),
)

BATCHES = (
    Mutant("the search forgets one at every halving", REFUSED, "reconcile/bisect.py",
           "return keys[:middle], keys[middle:]", "return keys[:middle], keys[middle + 1:] or keys[middle:]",
           ("tests/reconcile/test_reconcile_bisect.py",)),
    Mutant("nft: who is refused is left as he was", REFUSED, "agent/firewall.py",
           "(*self._refused, *culprits))", "self._refused)",
           ("tests/kernel/test_nft_refused.py::test_what_was_allowed_before_its_maker_was_refused_is_not_any_more",)),
    Mutant("iptables: who is refused is left as he was", REFUSED, "agent/iptables_firewall.py",
           "(*self._refused, *culprits))", "self._refused)", ("tests/kernel/test_iptables_refused.py",)),
    Mutant("iptables: what is said of a table names nobody", REFUSED, "drivers/program.py",
           'return self.line.strip() in ("", "COMMIT")', "return False", ("tests/kernel/test_iptables_refused.py",)),
)

SWAPS = (
    Mutant("iptables: a table is emptied before it is written", LEAK, "drivers/iptables.py",
           "        await self.sets.write(set_lines(changes))\n        for family in self._families:\n",
           "        await self.sets.write(set_lines(changes))\n        for family in self._families:\n"
           "            await self._restore(family, [f\"*filter\\n:{key.name} - [0:0]\\nCOMMIT\\n\" "
           "for key, chain in changes.chains.items() if key.family == family and key.table == 'filter' and chain])\n",
           ("tests/kernel/test_no_leak.py", "-k", "iptables-nft and a_policy_is_replaced")),
    Mutant("nft: the table is taken away before it is written", LEAK, "agent/firewall.py",
           "            await (self._write_whole() if changes is None else self._write(changes))\n",
           "            await self._nft.remove()\n            await self._write_whole()\n",
           ("tests/kernel/test_no_leak.py", "-k", "nftables and a_policy_is_replaced")),
)

MUTANTS: tuple[Mutant, ...] = (*CALC, *RENDER, *WIRE, *EXPLAIN, *STEPS, *ORDERS, *BATCHES, *SWAPS)
