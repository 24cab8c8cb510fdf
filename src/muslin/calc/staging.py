"""Staged policies: what they say, and which enforced policy each of them stands for.

    stagedAction Set      it is calculated like the policy that it would be, and marked: readers enforce nothing of it
                 Delete   nothing of it is calculated
                 Learn, Ignore   it says nothing
    Set and Delete        the enforced policy of its name carries its id: if it took effect, that one would be gone

So whoever leaves out the staged policies and these marks has what is enforced, to the letter.
"""

from __future__ import annotations

import msgspec

from muslin.calc.identity import policy_id
from muslin.calc.illegible import Illegible
from muslin.calc.policies import PolicyState, policy_state
from muslin.calc.references import References
from muslin.errors import Invalid
from muslin.intent import PolicyId
from muslin.model import kubernetes
from muslin.model.meta import ResourceKey
from muslin.model.policy import NetworkPolicy, NetworkPolicySpec
from muslin.model.staged import DELETE, SET, StagedKubernetesNetworkPolicy, StagedPolicy, stands_for

Staged = StagedPolicy | Illegible


def staged_state(key: ResourceKey, value: Staged) -> tuple[PolicyState | None, str | None]:
    """(the policy that it would be, what is wrong with it)"""
    match value:
        case Illegible():
            return policy_state(key, value) if action(value) == SET else (None, value.absent)
        case _ if action(value) != SET:
            return None, None
        case StagedKubernetesNetworkPolicy():
            return policy_state(key, _as_calico(key, value))
        case _:
            return policy_state(key, value)


def action(value: Staged) -> str:
    """What cannot be read counts as Set: of what it would enforce, more is told than is true."""
    if isinstance(value, Illegible):
        found = value.part("spec").get("stagedAction") or SET
        return found if isinstance(found, str) else SET
    return value.spec.staged_action or SET


def _as_calico(key: ResourceKey, value: StagedKubernetesNetworkPolicy) -> NetworkPolicy | Illegible:
    try:
        made = msgspec.convert(kubernetes.calico_spec(value.spec), NetworkPolicySpec)
        return NetworkPolicy(metadata=value.metadata, spec=made)
    except (Invalid, msgspec.ValidationError) as error:
        return Illegible(key, str(error), {"spec": {}})


class Replacements:
    """Enforced policy <- staged policies that stand for it, whether it is there or not."""

    def __init__(self) -> None:
        self._staged: References[PolicyId, PolicyId] = References()

    def update(self, key: ResourceKey, value: Staged | None) -> PolicyId | None:
        """Take note of a staged policy. The enforced one whose mark is another now."""
        target = stands_for(key)
        if target is None:
            return None
        enforced, staged = policy_id(target), policy_id(key)
        before = self.of(enforced)
        stands = value is not None and action(value) in (SET, DELETE)
        self._staged.replace(staged, [enforced], [enforced] if stands else [])
        return enforced if self.of(enforced) != before else None

    def of(self, policy: PolicyId) -> PolicyId:
        """Two can stand for a converted policy: the smaller id wins. "": none."""
        return min(self._staged.users(policy), default=PolicyId(""))
