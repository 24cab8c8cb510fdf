"""After a change: by which addresses are the flows found whose verdict may be another?"""

from __future__ import annotations

from intents import (
    ALLOW,
    ALLOW_ALL,
    INGRESS,
    OPEN_IN,
    OPEN_OUT,
    addresses,
    endpoint,
    group,
    intent,
    policy,
    rule,
    side,
    tier,
)
from muslin.explain.flow_classes import packed
from muslin.explain.touched import Changed, SetNames
from muslin.intent import Delta, EndpointKey, HostInterface, MemberChange, SetId, Settings
from muslin.net import Cidr

FROM_FRIENDS = policy("friends", rule(ALLOW, by=side(sets="friends")))
INWARDS = group(INGRESS, tier(FROM_FRIENDS))
TOLD = intent(FROM_FRIENDS, INWARDS, OPEN_IN, OPEN_OUT, ALLOW_ALL, addresses("friends"), endpoint(1, INWARDS, OPEN_OUT),
              endpoint(2, OPEN_IN, OPEN_OUT))
ONE, TWO = ({packed(f"10.65.0.{number}"), packed(f"fd65::{number}")} for number in (1, 2))


def touched(delta: Delta) -> set[bytes] | None:
    changed = Changed()
    changed.add(delta, TOLD.endpoints)
    return changed.addresses(TOLD, SetNames())


def test_a_member_that_joins_or_leaves_touches_its_own_flows() -> None:
    change = MemberChange(added=frozenset({Cidr("10.9.9.9/32")}), removed=frozenset({Cidr("fd99::9/128")}))
    assert touched(Delta(sets={SetId("friends"): change})) == {packed("10.9.9.9"), packed("fd99::9")}


def test_a_prefix_in_a_set_touches_those_who_are_asked_about_it() -> None:
    assert touched(Delta(sets={SetId("friends"): MemberChange(removed=frozenset({Cidr("10.0.0.0/8")}))})) == ONE
    assert touched(Delta(sets={SetId("friends"): addresses("friends")})) == ONE
    assert touched(Delta(sets={SetId("others"): None})) == set()


def test_policies_groups_and_endpoints_touch_their_endpoints() -> None:
    assert touched(Delta(policies={FROM_FRIENDS.id: FROM_FRIENDS})) == ONE
    assert touched(Delta(policies={ALLOW_ALL.id: None})) == ONE | TWO
    assert touched(Delta(groups={OPEN_IN.id: OPEN_IN})) == TWO
    two = EndpointKey("WorkloadEndpoint/default/w2")
    assert touched(Delta(endpoints={two: TOLD.endpoints[two]})) == TWO


def test_what_may_touch_any_flow_asks_for_all() -> None:
    assert touched(Delta(snapshot=True)) is None
    assert touched(Delta(settings=Settings())) is None
    covered = HostInterface(key=EndpointKey("HostEndpoint/up"), interface="up0", ingress=INWARDS.id, egress=OPEN_OUT.id)
    assert touched(Delta(host_interfaces={covered.key: covered})) is None
    TOLD.host_interfaces[covered.key] = covered
    try:
        assert touched(Delta(policies={FROM_FRIENDS.id: FROM_FRIENDS})) is None
        assert touched(Delta(groups={OPEN_IN.id: OPEN_IN})) == TWO
    finally:
        TOLD.host_interfaces.clear()


def test_changes_add_up() -> None:
    one, other = Changed(), Changed()
    one.add(Delta(groups={OPEN_IN.id: OPEN_IN}), TOLD.endpoints)
    other.add(Delta(policies={FROM_FRIENDS.id: FROM_FRIENDS}), TOLD.endpoints)
    assert not Changed()
    one.merge(other)
    assert one.addresses(TOLD, SetNames()) == ONE | TWO


def test_who_has_just_come_has_no_flows_and_one_change_later_may_have_some() -> None:
    """Also where sets and groups come along with the endpoint."""
    two = EndpointKey("WorkloadEndpoint/default/w2")
    came = Delta(endpoints={two: TOLD.endpoints[two]}, groups={OPEN_IN.id: OPEN_IN},
                 sets={SetId("friends"): MemberChange(added=frozenset({Cidr("10.65.0.2/32")}))})
    changed = Changed()
    changed.add(came, ())
    assert changed.addresses(TOLD, SetNames()) == set()
    changed.add(Delta(policies={FROM_FRIENDS.id: FROM_FRIENDS}), TOLD.endpoints)
    assert changed.addresses(TOLD, SetNames()) == ONE | TWO
    changed = Changed()
    changed.add(came, ())
    retried = Changed()
    retried.merge(changed)
    assert retried.addresses(TOLD, SetNames()) == TWO, "who could not be looked at in time may have flows by now"


def test_many_who_come_one_after_the_other_have_no_flows_to_look_at() -> None:
    """A burst of workloads that start: each brings a change, none concerns those who came before."""
    keys = [EndpointKey(f"WorkloadEndpoint/default/w{number}") for number in (1, 2)]
    changed = Changed()
    changed.add(Delta(endpoints={keys[0]: TOLD.endpoints[keys[0]]}), ())
    changed.add(Delta(endpoints={keys[1]: TOLD.endpoints[keys[1]]}), {keys[0]})
    assert changed.addresses(TOLD, SetNames()) == set()
    left = MemberChange(removed=frozenset({Cidr("10.65.0.1/32")}))
    changed.add(Delta(sets={SetId("friends"): left}), set(keys))
    assert changed.addresses(TOLD, SetNames()) == {packed("10.65.0.1")}, "it was concerned later"


def test_who_goes_leaves_no_flows_to_look_at_whatever_sets_it_was_in() -> None:
    """Those of its addresses are forgotten. A member elsewhere that leaves meanwhile is looked at."""
    three, cidr = EndpointKey("WorkloadEndpoint/default/w3"), Cidr("10.65.0.3/32")
    left = MemberChange(removed=frozenset({cidr, Cidr("10.9.9.9/32")}))
    went = Delta(endpoints={three: None}, routes={cidr: None}, sets={SetId("friends"): left})
    changed = Changed()
    changed.add(went, {three})
    assert changed.addresses(TOLD, SetNames()) == {packed("10.9.9.9")}
    changed.add(Delta(sets={SetId("friends"): MemberChange(added=frozenset({cidr}))}), ())
    assert changed.addresses(TOLD, SetNames()) == {packed("10.9.9.9"), packed("10.65.0.3")}, "somebody else has it now"
