"""Profiles by name, whoever speaks for it: a stored Profile, a Namespace (`kns.X`), a ServiceAccount (`ksa.X.Y`),
muslin itself, or nobody.

Nobody, or a Profile that cannot be read, means deny: an endpoint that names it asked for rules of last resort and there
are none. Nobody hands down no labels. What cannot be read hands down the labels that can be: a policy that selects by
them must go on denying.
"""

from __future__ import annotations

from collections.abc import Mapping

from muslin.calc.illegible import Illegible, labels
from muslin.calc.policies import Compiled, denying_profile, profile_rules
from muslin.model.labels import (
    DEFAULT_ALLOW,
    account_of_profile,
    account_profile,
    account_profile_name,
    namespace_of_profile,
    namespace_profile,
    namespace_profile_name,
)
from muslin.model.meta import Meta
from muslin.model.network import Namespace
from muslin.model.policy import Profile
from muslin.model.service_account import ServiceAccount

_NO_LABELS: Mapping[str, str] = {}


class Profiles:
    def __init__(self) -> None:
        self._stored: dict[str, Profile | Illegible] = {}
        self._namespaces: dict[str, Namespace | Illegible] = {}
        self._accounts: dict[tuple[str, str], ServiceAccount | Illegible] = {}
        self._rules: dict[str, Compiled] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        self._settle(DEFAULT_ALLOW.metadata.name)

    def store(self, name: str, profile: Profile | Illegible | None) -> tuple[bool, bool, str | None]:
        """(did its rules change, did its labels change, what is wrong with it)"""
        if profile is None:
            self._stored.pop(name, None)
        else:
            self._stored[name] = profile
        return self._settle(name)

    def store_namespace(self, name: str, namespace: Namespace | Illegible | None) -> tuple[bool, bool, str | None]:
        """As `store`, for the profile that the namespace stands for."""
        if namespace is None:
            self._namespaces.pop(name, None)
        else:
            self._namespaces[name] = namespace
        return self._settle(namespace_profile_name(name))

    def store_account(
        self, namespace: str, name: str, account: ServiceAccount | Illegible | None
    ) -> tuple[bool, bool, str | None]:
        """As `store`, for the profile that the service account stands for."""
        if account is None:
            self._accounts.pop((namespace, name), None)
        else:
            self._accounts[namespace, name] = account
        return self._settle(account_profile_name(namespace, name))

    def rules(self, name: str) -> Compiled:
        return self._rules.get(name) or denying_profile(name, f"missing profile {name}")

    def labels(self, name: str) -> Mapping[str, str]:
        return self._labels.get(name, _NO_LABELS)

    def _settle(self, name: str) -> tuple[bool, bool, str | None]:
        rules, labels, fault = self._current(name)
        changed = rules != self._rules.get(name), labels != self.labels(name), fault
        if rules is None:
            self._rules.pop(name, None)
        else:
            self._rules[name] = rules
        if labels:
            self._labels[name] = labels
        else:
            self._labels.pop(name, None)
        return changed

    def _current(self, name: str) -> tuple[Compiled | None, Mapping[str, str], str | None]:
        stored = self._stored.get(name)
        if isinstance(stored, Illegible):
            reason = f"{stored.reason}. Until this is mended it denies"
            left = labels(stored.part("spec").get("labelsToApply"))
            return denying_profile(name, f"illegible profile {name}"), left, reason
        if stored is None:
            namespace = self._namespaces.get(namespace_of_profile(name) or "")
            if isinstance(namespace, Illegible):
                return denying_profile(name, f"illegible namespace {namespace.key.name}"), _salvaged(namespace), None
            stored = namespace_profile(namespace) if namespace is not None else self._of_account(name)
        if stored is None and name == DEFAULT_ALLOW.metadata.name:
            stored = DEFAULT_ALLOW
        if stored is None:
            return None, _NO_LABELS, None
        rules, fault = profile_rules(name, stored)
        return rules, stored.spec.labels_to_apply, fault

    def _of_account(self, profile: str) -> Profile | None:
        """One that cannot be read hands down what can be read of its labels. It has no rules that could be wrong."""
        named = account_of_profile(profile)
        account = self._accounts.get(named) if named is not None else None
        if named is None or account is None:
            return None
        if isinstance(account, Illegible):
            return account_profile(*named, labels(account.part("metadata").get("labels")))
        return account_profile(*named, account.metadata.labels)


def _salvaged(namespace: Illegible) -> Mapping[str, str]:
    """What it would hand down, as far as it can be read. Its name is in its key."""
    meta = Meta(name=namespace.key.name, labels=labels(namespace.part("metadata").get("labels")))
    return namespace_profile(Namespace(kind="Namespace", metadata=meta)).spec.labels_to_apply
