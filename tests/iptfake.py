"""A kernel that takes changes as strictly as iptables and ipset do, in the order of the driver, and remembers them."""

from __future__ import annotations

from muslin.render.iptables import ChainKey, Changes, Ruleset
from muslin.render.iptables.text import gone_lines, rule_text, set_lines, table_text
from muslin.render.iptables.words import Chain, InSet, Jump

CHAIN_LIMIT, SET_LIMIT = 28, 31


class FakeKernel:
    def __init__(self) -> None:
        self.ruleset = Ruleset()

    def apply(self, changes: Changes) -> None:
        if changes.fresh:
            self.ruleset.chains = {}
        self._add_sets(changes)
        self._put_chains(changes)
        self._remove_from_sets(changes)
        self._prints(changes)

    def _add_sets(self, changes: Changes) -> None:
        for declared in changes.new_sets:
            assert len(declared.name) <= SET_LIMIT
            assert changes.fresh or declared.name not in self.ruleset.sets, f"{declared.name} is there already"
            self.ruleset.sets[declared.name] = declared
            self.ruleset.elements.setdefault(declared.name, set())
        for name, elements in changes.added.items():
            assert changes.fresh or not elements & self.ruleset.elements[name], f"{name} has that already"
            self.ruleset.elements[name] |= elements
            assert not {"0.0.0.0/0", "::/0"} & self.ruleset.elements[name]

    def _put_chains(self, changes: Changes) -> None:
        for key, chain in changes.chains.items():
            assert len(key.name) <= CHAIN_LIMIT
            if chain is None:
                del self.ruleset.chains[key]
            else:
                self.ruleset.chains[key] = chain
        for key, chain in self.ruleset.chains.items():
            self._leads_somewhere(key, chain)

    def _leads_somewhere(self, key: ChainKey, chain: Chain) -> None:
        for rule in chain.rules:
            if isinstance(rule.target, Jump):
                there = ChainKey(key.family, key.table, rule.target.chain)
                assert there in self.ruleset.chains, f"{key} leads to {there}, which is not there"
            for test in rule.tests:
                if isinstance(test, InSet):
                    declared = self.ruleset.sets[test.set]
                    assert declared.family == key.family
                    assert len(test.ends) == {"hash:net": 1, "hash:ip,port,ip": 3}.get(declared.kind.value, 2)

    def _remove_from_sets(self, changes: Changes) -> None:
        for name, elements in changes.removed.items():
            assert elements <= self.ruleset.elements[name], f"{name} has not that"
            self.ruleset.elements[name] -= elements
        for name in changes.gone_sets:
            del self.ruleset.sets[name], self.ruleset.elements[name]
        for key, chain in self.ruleset.chains.items():
            self._leads_somewhere(key, chain)

    def _prints(self, changes: Changes) -> None:
        for lines in (set_lines(changes), gone_lines(changes)):
            assert all("\n" not in line for line in lines)
        for family, table in {(key.family, key.table) for key in changes.chains}:
            assert table_text(changes.chains, family, table).endswith("COMMIT\n")
        assert all("\n" not in rule_text(rule) for chain in self.ruleset.chains.values() for rule in chain.rules)
