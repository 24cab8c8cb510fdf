"""What somebody meant who wrote a field that is not there.

An unknown field is never dropped in silence: a `destination` that stands under `spec` instead of in a rule would leave
a policy that allows far more than it says. Most slips are of few sorts, so the answer can be exact: a word of
Kubernetes' own NetworkPolicy, a field in the wrong place, a field of the paid edition, a misspelling.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import msgspec

from muslin.model.fault import Path
from muslin.model.outline import Outline, Sort, outline
from muslin.model.validation.findings import listed, near, shown
from muslin.model.validation.wrong import Wrong

_KUBERNETES = "that is a word of Kubernetes' NetworkPolicy"
_CALICO = "that is a word of Calico's NetworkPolicy"
_PAID = "that is a field of Calico Enterprise"
_GONE = "Calico has withdrawn it"
_Place = tuple[str, ...]
"""Field names from the top; `*` for any index or key."""

_KNOWN_SLIPS: dict[tuple[str, str], tuple[str, str]] = {
    ("NetworkPolicySpec", "podSelector"): (_KUBERNETES, "write selector, such as selector: app == 'db'"),
    ("NetworkPolicySpec", "policyTypes"): (_KUBERNETES, "write types"),
    ("NetworkPolicySpec", "namespaceSelector"): (
        "a NetworkPolicy is for its own namespace", "leave it out, or write kind: GlobalNetworkPolicy"),
    ("NetworkPolicySpec", "applyOnForward"): (
        "only a GlobalNetworkPolicy reaches host endpoints", "leave it out, or write kind: GlobalNetworkPolicy"),
    ("NetworkPolicySpec", "doNotTrack"): (
        "only a GlobalNetworkPolicy reaches host endpoints", "leave it out, or write kind: GlobalNetworkPolicy"),
    ("NetworkPolicySpec", "preDNAT"): (
        "only a GlobalNetworkPolicy reaches host endpoints", "leave it out, or write kind: GlobalNetworkPolicy"),
    ("Rule", "from"): (_KUBERNETES, "write source"),
    ("Rule", "to"): (_KUBERNETES, "write destination"),
    ("EntityRule", "podSelector"): (_KUBERNETES, "write selector, such as selector: app == 'db'"),
    ("EntityRule", "ipBlock"): (_KUBERNETES, "write nets: [10.0.0.0/8], and notNets for its exceptions"),
    ("EntityRule", "port"): ("", "write ports, a list: ports: [443]"),
    ("EntityRule", "net"): ("", "write nets, a list: nets: [10.0.0.0/8]"),
    ("EntityRule", "cidr"): ("", "write nets, a list: nets: [10.0.0.0/8]"),
    ("EntityRule", "domains"): (_PAID, "write nets, or select a GlobalNetworkSet by its labels"),
    ("KubernetesPolicySpec", "selector"): (_CALICO, "write podSelector, with matchLabels in it"),
    ("KubernetesPolicySpec", "types"): (_CALICO, "write policyTypes"),
    ("KubernetesIngressRule", "source"): (_CALICO, "write from, a list"),
    ("KubernetesEgressRule", "destination"): (_CALICO, "write to, a list"),
    ("KubernetesIngressRule", "action"): ("these rules only ever allow", "take it out"),
    ("KubernetesEgressRule", "action"): ("these rules only ever allow", "take it out"),
    ("HTTPMatch", "headers"): (_PAID, "leave it out"),
    ("NetworkSetSpec", "allowedEgressDomains"): (_PAID, "write nets with the addresses"),
    ("IPPoolSpec", "ipip"): ("that is version 1 of Calico's API", "write ipipMode: Always"),
    ("IPPoolSpec", "nat-outgoing"): ("that is version 1 of Calico's API", "call it natOutgoing"),
    ("IPPoolSpec", "awsSubnetID"): (_PAID, "leave it out"),
    ("BGPPeerSpec", "failureDetectionMode"): (_PAID, "leave it out"),
    ("BGPPeerSpec", "externalNetwork"): (_PAID, "leave it out"),
    ("FelixConfigurationSpec", "bpfKubeProxyEndpointSlicesEnabled"): (_GONE, "leave it out"),
    ("FelixConfigurationSpec", "ignoreLooseRPF"): (_GONE, "leave it out"),
}


def unknown_field(kind: type[msgspec.Struct], struct: Outline, path: Path) -> Wrong:
    """The answer to the field `path[-1]`, which `struct` does not have."""
    key = str(path[-1])
    what = f"there is no field {shown(key)} here"
    slip = _KNOWN_SLIPS.get((_family(struct.title), key))
    if slip:
        return what, *slip
    if struct.title == "LabelSelector":
        return what, "labels stand under matchLabels", f"write matchLabels: {{{key}: ...}}"
    places = _nearest(kind, path)
    if key not in {name.casefold() for name in struct.fields} and places:
        return what, "it stands in another place", f"move it to {listed(places)}"
    meant = near(key, struct.fields)
    if meant:
        return what, "it would be passed over", f"did you mean {meant}?"
    names = list(struct.fields)
    if len(names) > 20:
        return what, "it would be passed over", "take it out"
    return what, f"the fields are {listed(names, 'and')}" if names else "", "take it out, or write one of them"


def _family(title: str) -> str:
    return "NetworkPolicySpec" if title == "GlobalNetworkPolicySpec" else title


def _nearest(kind: type[msgspec.Struct], path: Path) -> list[str]:
    """Where in the kind a field of this name stands: the places that share most of the way, the shortest of those."""
    here = tuple("*" if isinstance(step, int) else step for step in path[:-1])
    candidates = [place for place in _places(kind) if place[-1] == path[-1]]
    if not candidates:
        return []
    shared = max(_shared(place, here) for place in candidates)
    closest = [place for place in candidates if _shared(place, here) == shared]
    shortest = min(len(place) for place in closest)
    return [_spelled(place) for place in closest if len(place) == shortest][:2]


def _shared(place: _Place, here: _Place) -> int:
    return next((i for i, (a, b) in enumerate(zip(place, here, strict=False)) if a != b), min(len(place), len(here)))


def _spelled(place: _Place) -> str:
    text = ""
    for step in place:
        text += "[]" if step == "*" else f".{step}" if text else step
    return text


@cache
def _places(kind: type[msgspec.Struct]) -> tuple[_Place, ...]:
    return tuple(_walk(outline(kind), ()))


def _walk(of: Outline, place: _Place) -> Iterator[_Place]:
    if of.sort is Sort.STRUCT:
        for name, below in of.fields.items():
            yield (*place, name)
            yield from _walk(below, (*place, name))
    elif of.item is not None and of.sort is Sort.LIST:
        yield from _walk(of.item, (*place, "*"))
