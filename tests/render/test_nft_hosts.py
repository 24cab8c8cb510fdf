"""Interfaces of the host: what is written for them, and that nothing is where there are none."""

from __future__ import annotations

from intents import (
    ALLOW,
    EGRESS,
    INGRESS,
    OPEN,
    OPEN_OUT,
    PASS,
    SHUT_IN,
    SHUT_OUT,
    endpoint,
    group,
    host_interface,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.intent import Delta, HostIntent, Settings
from muslin.render.nft import NftState, render
from muslin.render.nft.early import beside, is_early_base
from muslin.render.nft.words import ACCEPT, ByMap, Chain, Choose, Verdict, goto

WEB = policy("web", rule(ALLOW, 17, side(ports="80")), egress=(rule(ALLOW, 17, side(ports="80")),))
INTO, OUT = group(INGRESS, tier(WEB)), group(EGRESS, tier(WEB))
ONWARD = group(INGRESS, tier(WEB, default=PASS), end=ALLOW)
EARLY = group(INGRESS, tier(WEB, default=PASS), end=PASS)
FAILSAFES = Settings(
    failsafe_inbound=((6, 22, ""), (6, 22, "10.0.0.0/8"), (1, 8, "")), failsafe_outbound=((17, 53, ""),)
)
SHUT = (SHUT_IN, SHUT_OUT)


def _chains(made: HostIntent) -> dict[str, Chain]:
    return render(made).chains


def test_a_host_without_host_endpoints_pays_nothing_for_them() -> None:
    """No hook, no chain, no set, whatever the settings say of failsafes and marks."""
    table = render(intent(*OPEN, WEB, INTO, endpoint(1, INTO, OPEN_OUT), settings=FAILSAFES))

    assert {name for name, chain in table.chains.items() if chain.hook} == {"forward", "input"}
    assert [len(table.chains[name].rules) for name in ("forward", "input")] == [7, 1]
    assert {name.partition("/")[0].rstrip("46") for name in table.chains if "/" in name} == {"ingress", "egress"}
    assert not {name for name in table.sets if name.startswith(("host-", "failsafe", "covered", "untracked", "pre-"))}


def test_a_hook_is_there_only_for_what_is_asked_in_it() -> None:
    def hooks(**groups):
        made = intent(WEB, EARLY, ONWARD, *SHUT, host_interface("up0", **groups))
        return {name for name, chain in _chains(made).items() if chain.hook}

    always = {"forward", "input", "output"}
    assert hooks() == always
    assert hooks(forward_ingress=ONWARD) == {*always, "host-forward"}
    assert hooks(untracked_ingress=EARLY) == {*always, "fresh-in", "untracked-in", "host-forward"}
    assert hooks(pre_dnat=EARLY) == {*always, "fresh-in", "pre-dnat", "host-forward"}


def test_the_order_of_early_hooks_is_told_also_while_two_states_of_them_stand_beside_each_other() -> None:
    """Of equal priorities the kernel asks the younger first: what an older state remembered would be forgotten."""
    table = render(intent(WEB, EARLY, *SHUT, host_interface("up0", untracked_ingress=EARLY, pre_dnat=EARLY)))
    bases = [chain for chain in table.chains.values() if is_early_base(chain)]

    hooks = [chain.hook for chain in (*bases, *beside(table, bases).chains) if chain.hook]

    assert len(hooks) == 2 * len(bases) >= 6
    assert len({(hook.point, hook.priority) for hook in hooks}) == len(hooks)


def test_established_packets_that_are_forwarded_pass_before_any_lookup_of_the_host_s_interfaces() -> None:
    chains = _chains(intent(WEB, ONWARD, *SHUT, host_interface("up0", forward_ingress=ONWARD)))

    assert chains["forward"] == _chains(intent())["forward"]
    assert "ESTABLISHED" in str(chains["host-forward"].rules[0])


def test_an_interface_is_elements_and_no_chain() -> None:
    """A second one of the same policy changes maps only."""
    state = NftState()
    first, second = host_interface("up0", INTO, OUT), host_interface("up1", INTO, OUT)
    state.update(Delta(snapshot=True), intent(WEB, INTO, OUT, first))

    changes = state.update(Delta(host_interfaces={second.key: second}), intent(WEB, INTO, OUT, first, second))

    touched = {change.set.name for change in changes.elements}
    assert touched == {"covered", "host-in4", "host-in6", "host-out4", "host-out6"}
    assert not any((changes.new_chains, changes.changed_chains, changes.new_sets))


def test_a_policy_is_written_once_for_each_gate_in_which_it_is_asked() -> None:
    """And shared there: its change rewrites as many chains as there are gates and families, however many groups."""
    made = intent(WEB, INTO, OUT, ONWARD, host_interface("up0", INTO, OUT, forward_ingress=ONWARD))
    gates = {name.removesuffix("/GlobalNetworkPolicy/web") for name in _chains(made) if name.endswith("/web")}

    assert gates == {f"{gate}{family}" for gate in ("ingress", "egress", "host-egress", "forward-ingress")
                     for family in (4, 6)}


def test_an_interface_beside_the_star_goes_its_own_way() -> None:
    """Where the star has a list and it has none, it must not fall to the star's."""
    made = intent(WEB, ONWARD, EARLY, *SHUT, host_interface("up0"),
                  host_interface("*", forward_ingress=ONWARD, pre_dnat=EARLY))
    elements = render(made).elements

    assert elements["forward-in4"] == {"up0": goto("forwarded4")}
    assert elements["pre-dnat6"] == {"up0": ACCEPT}
    assert "forward-out4" not in elements


def test_failsafes_do_not_overlap_and_have_ports() -> None:
    """The kernel refuses overlaps; ICMP has no ports that could be compared."""
    elements = render(intent(*SHUT, host_interface("up0"), settings=FAILSAFES)).elements

    assert list(elements["failsafe-in4"]) == [("0.0.0.0/0", 6, 22)]
    assert list(elements["failsafe-in6"]) == [("::/0", 6, 22)]
    assert list(elements["failsafe-out4"]) == [("0.0.0.0/0", 17, 53)]


def test_no_way_through_the_host_is_too_long_for_the_kernel() -> None:
    """Sixteen chains in a row, gotos counted: every list with a tier that passes, and a denial that is told."""
    both = policy("both", rule(PASS), rule(ALLOW), egress=(rule(PASS), rule(ALLOW)))
    into, out = (group(direction, tier(both, WEB), tier(WEB)) for direction in (INGRESS, EGRESS))
    early = dict.fromkeys(("forward_ingress", "untracked_ingress", "pre_dnat"), into)
    late = dict.fromkeys(("forward_egress", "untracked_egress"), out)
    star = host_interface("*", into, out, **early, **late)
    settings = Settings(filter_deny="Reject", endpoint_to_host_action="Accept")
    table = render(intent(both, WEB, into, out, endpoint(1, into, out), star, settings=settings))
    chains, maps = table.chains, table.elements

    def deepest(name: str) -> int:
        return 1 + max((deepest(to) for line in chains[name].rules for to in _targets(line, maps)), default=-1)

    assert max(deepest(name) for name, chain in chains.items() if chain.hook) < 16


def _targets(line, maps) -> set[str]:
    found = {statement.chain for statement in line.statements if isinstance(statement, Verdict)}
    for statement in line.statements:
        if isinstance(statement, ByMap):
            found |= {verdict.chain for verdict in maps.get(statement.map, {}).values()}
        elif isinstance(statement, Choose):
            found |= {verdict.chain for _, verdict in statement.choices}
    return found - {""}


def test_without_a_bit_to_spend_accepted_early_is_not_remembered() -> None:
    """Then the host's own list decides as well: fail closed."""
    made = intent(WEB, EARLY, *SHUT, host_interface("up0", pre_dnat=EARLY), settings=Settings(mark_mask=0))

    assert not any("Mark" in str(chain) for chain in _chains(made).values())
