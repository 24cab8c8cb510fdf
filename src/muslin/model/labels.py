"""Which labels a selector sees on an endpoint or a set.

A policy says `role == 'db'`, but nobody wrote that label on the endpoint itself: it may come from the endpoint's
profile, and so from its namespace. One law for everybody who matches selectors:

    own labels      what metadata.labels says, minus `pcns.*` and `pcsa.*` (only profiles may speak for a namespace)
    forced labels   projectcalico.org/namespace, /orchestrator, /serviceaccount, from where the endpoint is
    inherited       labelsToApply of its profiles; own and forced labels win, then the profile that is listed first

A namespace's labels reach its endpoints by the profile `kns.<namespace>`, with the prefix `pcns.`. Where nobody wrote
that profile but the Namespace exists, it is made up here. So do those of a service account, by `ksa.<namespace>.<name>`
and with `pcsa.`. `projectcalico-default-allow` always exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from muslin.model.endpoint import HostEndpoint, WorkloadEndpoint
from muslin.model.meta import Meta
from muslin.model.network import Namespace
from muslin.model.policy import GlobalNetworkSet, NetworkSet, Profile, ProfileSpec, Rule

NAMESPACE = "projectcalico.org/namespace"
ORCHESTRATOR = "projectcalico.org/orchestrator"
SERVICE_ACCOUNT = "projectcalico.org/serviceaccount"
NAME = "projectcalico.org/name"
TIER = "projectcalico.org/tier"

NAMESPACE_PREFIX = "pcns."
SERVICE_ACCOUNT_PREFIX = "pcsa."
_NAMESPACE_PROFILE_PREFIX = "kns."
_ACCOUNT_PROFILE_PREFIX = "ksa."

_ALLOW = (Rule(action="Allow"),)

DEFAULT_ALLOW = Profile(
    kind="Profile",
    metadata=Meta(name="projectcalico-default-allow"),
    spec=ProfileSpec(ingress=_ALLOW, egress=_ALLOW),
)
"""Allows everything, inherits nothing, is never stored."""


def own_labels(resource: WorkloadEndpoint | HostEndpoint | NetworkSet | GlobalNetworkSet) -> dict[str, str]:
    """Own and forced labels of what a selector can match, before anything is inherited."""
    labels = resource.metadata.labels
    match resource:
        case WorkloadEndpoint(metadata=metadata, spec=spec):
            own = {name: value for name, value in labels.items() if not _speaks_for_others(name)}
            own[NAMESPACE] = metadata.namespace
            own[ORCHESTRATOR] = spec.orchestrator
            if spec.service_account_name:
                own[SERVICE_ACCOUNT] = spec.service_account_name
            return own
        case NetworkSet(metadata=metadata):
            return {**labels, NAMESPACE: metadata.namespace}
        case _:
            return dict(labels)


def profiles_of(resource: WorkloadEndpoint | HostEndpoint | NetworkSet | GlobalNetworkSet) -> tuple[str, ...]:
    """Names of the profiles that a resource inherits labels from, the strongest first."""
    match resource:
        case NetworkSet(metadata=metadata):
            return (namespace_profile_name(metadata.namespace),)
        case WorkloadEndpoint(spec=spec) | HostEndpoint(spec=spec):
            return spec.profiles
        case _:
            return ()


def effective_labels(own: Mapping[str, str], inherited: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """`own` over the labelsToApply of its profiles, the first listed over the later."""
    labels = dict(own)
    for profile_labels in inherited:
        for name, value in profile_labels.items():
            labels.setdefault(name, value)
    return labels


def namespace_profile_name(namespace: str) -> str:
    """`kns.shop` for the namespace shop."""
    return _NAMESPACE_PROFILE_PREFIX + namespace


def namespace_of_profile(profile: str) -> str | None:
    """The namespace that a profile's name speaks for, None if for none."""
    if not profile.startswith(_NAMESPACE_PROFILE_PREFIX):
        return None
    return profile.removeprefix(_NAMESPACE_PROFILE_PREFIX)


def namespace_profile(namespace: Namespace) -> Profile:
    """The profile `kns.X` that a Namespace X without one stands for: it allows all, and hands down X's labels."""
    name = namespace.metadata.name
    labels = {NAMESPACE_PREFIX + label: value for label, value in namespace.metadata.labels.items()}
    labels[NAMESPACE_PREFIX + NAME] = name
    return Profile(
        kind="Profile",
        metadata=Meta(name=namespace_profile_name(name), creation_timestamp=namespace.metadata.creation_timestamp),
        spec=ProfileSpec(ingress=_ALLOW, egress=_ALLOW, labels_to_apply=labels),
    )


def account_profile_name(namespace: str, account: str) -> str:
    """`ksa.shop.robot` for the service account robot of the namespace shop."""
    return f"{_ACCOUNT_PROFILE_PREFIX}{namespace}.{account}"


def account_of_profile(profile: str) -> tuple[str, str] | None:
    """(namespace, name) of the service account that a profile's name speaks for, None if for none."""
    if not profile.startswith(_ACCOUNT_PROFILE_PREFIX):
        return None
    namespace, _, account = profile.removeprefix(_ACCOUNT_PROFILE_PREFIX).partition(".")
    return namespace, account


def account_profile(namespace: str, account: str, labels: Mapping[str, str]) -> Profile:
    """The profile that a service account stands for: it allows nothing, denies nothing, and hands down its labels."""
    handed = {SERVICE_ACCOUNT_PREFIX + label: value for label, value in labels.items()}
    return Profile(
        kind="Profile", metadata=Meta(name=account_profile_name(namespace, account)),
        spec=ProfileSpec(labels_to_apply={**handed, SERVICE_ACCOUNT_PREFIX + NAME: account}),
    )


def _speaks_for_others(label: str) -> bool:
    return label.startswith((NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX))
