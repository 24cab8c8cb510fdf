"""The words that a host writes before a logged packet, where its FelixConfiguration says which.

    %t  the tier; nothing for a profile        %p  the policy's full name: namespace/name where it has a namespace
    %k  the kind, by its short name            %n  its name alone

Policies are calculated once for all hosts and a configuration may be one host's own, so the words are put in there.
"""

from __future__ import annotations

import re

import msgspec

from muslin.intent import Action, Origin, Policy, Rule
from muslin.model.kinds import BY_NAME

_SPECIFIER = re.compile(r"%[tkpn]")


def worded(policy: Policy, template: str) -> Policy:
    """The policy as a host with this logPrefix writes it; "": as it is."""
    if not template:
        return policy
    ingress, egress = (tuple(_worded(rule, template) for rule in rules) for rules in (policy.ingress, policy.egress))
    return msgspec.structs.replace(policy, ingress=ingress, egress=egress)


def _worded(rule: Rule, template: str) -> Rule:
    if rule.action is not Action.LOG:
        return rule
    words = _words(rule.origin)
    prefix = _SPECIFIER.sub(lambda found: words[found.group()], template)
    return msgspec.structs.replace(rule, log_prefix=prefix)


def _words(origin: Origin) -> dict[str, str]:
    kind = BY_NAME.get(origin.kind)
    full = f"{origin.namespace}/{origin.name}" if origin.namespace else origin.name
    return {"%t": origin.tier, "%k": kind.short[0] if kind and kind.short else origin.kind.lower(), "%p": full,
            "%n": origin.name}
