"""Policies that are looked at but not enforced: what would happen if they were.

Fields are Calico v3's: those of the policy, and `stagedAction`. A staged policy stands for the enforced one of the same
kind and name: Set would write it, Delete would take it away, Learn and Ignore say nothing about it.
"""

from __future__ import annotations

from typing import Annotated

from muslin.model.kubernetes import NAME_PREFIX, KubernetesPolicySpec
from muslin.model.meta import Resource, ResourceKey
from muslin.model.policy import GlobalNetworkPolicySpec, NetworkPolicySpec, Status
from muslin.model.shape import about

SET, DELETE, LEARN, IGNORE = "Set", "Delete", "Learn", "Ignore"
ACTIONS = (SET, DELETE, LEARN, IGNORE)

StagedAction = Annotated[str, about(
    "What would happen to the enforced policy of this name: Set writes it (the default), Delete removes it, Learn and "
    "Ignore leave it alone.", enum=ACTIONS)]


class StagedNetworkPolicySpec(NetworkPolicySpec, frozen=True, kw_only=True):
    """The endpoints the policy would select, and its rules."""

    staged_action: StagedAction = ""


class StagedNetworkPolicy(Resource, frozen=True, kw_only=True):
    """A NetworkPolicy that is not enforced yet: `muslin why` tells what it would do."""

    spec: Annotated[StagedNetworkPolicySpec, about("Whom it would apply to, and its rules.")] = (
        StagedNetworkPolicySpec())
    status: Annotated[Status, about("Whether the policy is valid.")] = Status()


class StagedGlobalNetworkPolicySpec(GlobalNetworkPolicySpec, frozen=True, kw_only=True):
    """The endpoints the policy would select in all namespaces, and its rules."""

    staged_action: StagedAction = ""


class StagedGlobalNetworkPolicy(Resource, frozen=True, kw_only=True):
    """A GlobalNetworkPolicy that is not enforced yet: `muslin why` tells what it would do."""

    spec: Annotated[StagedGlobalNetworkPolicySpec, about("Whom it would apply to, and its rules.")] = (
        StagedGlobalNetworkPolicySpec())
    status: Annotated[Status, about("Whether the policy is valid.")] = Status()


class StagedKubernetesNetworkPolicySpec(KubernetesPolicySpec, frozen=True, kw_only=True):
    """Which pods, and what would be allowed for them."""

    staged_action: StagedAction = ""


class StagedKubernetesNetworkPolicy(Resource, frozen=True, kw_only=True):
    """A NetworkPolicy of Kubernetes that is not enforced yet: `muslin why` tells what it would do."""

    spec: Annotated[StagedKubernetesNetworkPolicySpec, about("Which workloads, and what would be allowed.")] = (
        StagedKubernetesNetworkPolicySpec())


StagedPolicy = StagedNetworkPolicy | StagedGlobalNetworkPolicy | StagedKubernetesNetworkPolicy

KINDS = ("StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy")


def stands_for(key: ResourceKey) -> ResourceKey | None:
    """The enforced policy that a staged one of this key is about; None for a key of any other kind."""
    if key.kind == "StagedKubernetesNetworkPolicy":
        return ResourceKey("NetworkPolicy", key.namespace, NAME_PREFIX + key.name)
    return ResourceKey(key.kind.removeprefix("Staged"), key.namespace, key.name) if key.kind in KINDS else None
