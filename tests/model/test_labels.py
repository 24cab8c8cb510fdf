"""What a selector sees on an endpoint: its own labels, where it is, and what its profiles hand down."""

from muslin.model import labels
from muslin.model.endpoint import HostEndpoint, WorkloadEndpoint, WorkloadEndpointSpec
from muslin.model.meta import Meta
from muslin.model.network import Namespace
from muslin.model.policy import GlobalNetworkSet, NetworkSet


def workload(namespace: str = "shop", account: str = "", **own: str) -> WorkloadEndpoint:
    return WorkloadEndpoint(
        metadata=Meta(namespace=namespace, labels=own),
        spec=WorkloadEndpointSpec(orchestrator="muslin", service_account_name=account),
    )


def test_a_workload_carries_where_it_is() -> None:
    """Namespace and orchestrator are forced, also against what the user wrote."""
    endpoint = workload(**{"app": "db", "projectcalico.org/namespace": "forged"})

    assert labels.own_labels(endpoint) == {
        "app": "db", "projectcalico.org/namespace": "shop", "projectcalico.org/orchestrator": "muslin",
    }


def test_a_workload_cannot_claim_labels_of_a_namespace_or_service_account() -> None:
    """Else anybody could join another tenant's namespaceSelector."""
    endpoint = workload(**{"pcns.tier": "gold", "pcsa.role": "root"})

    assert not [name for name in labels.own_labels(endpoint) if name.startswith("pc")]


def test_a_service_account_is_a_label() -> None:
    """Rules match it by name."""
    assert labels.own_labels(workload(account="payer"))["projectcalico.org/serviceaccount"] == "payer"


def test_own_labels_win_over_inherited_and_the_first_profile_over_the_second() -> None:
    """As felix's inheritance index does."""
    effective = labels.effective_labels({"app": "db"}, [{"app": "x", "zone": "a"}, {"zone": "b", "rack": "7"}])

    assert effective == {"app": "db", "zone": "a", "rack": "7"}


def test_a_namespace_without_a_profile_hands_its_labels_down_and_allows_all() -> None:
    """kns.shop as kube-controllers would have written it."""
    profile = labels.namespace_profile(Namespace(metadata=Meta(name="shop", labels={"env": "prod"})))

    assert profile.metadata.name == "kns.shop"
    assert profile.spec.labels_to_apply == {"pcns.env": "prod", "pcns.projectcalico.org/name": "shop"}
    assert [rule.action for rule in (*profile.spec.ingress, *profile.spec.egress)] == ["Allow", "Allow"]
    assert labels.namespace_of_profile("kns.shop") == "shop"
    assert labels.namespace_of_profile("shop") is None


def test_a_network_set_lives_in_its_namespace_and_inherits_its_labels() -> None:
    """So that a namespaceSelector finds it; a global one lives nowhere."""
    here = NetworkSet(metadata=Meta(namespace="shop", labels={"role": "api"}))
    everywhere = GlobalNetworkSet(metadata=Meta(labels={"role": "api"}))

    assert labels.own_labels(here) == {"role": "api", "projectcalico.org/namespace": "shop"}
    assert labels.profiles_of(here) == ("kns.shop",)
    assert labels.own_labels(everywhere) == {"role": "api"}
    assert labels.profiles_of(everywhere) == ()


def test_a_host_endpoint_has_only_its_own_labels() -> None:
    """It is in no namespace, which is what `global()` looks for."""
    assert labels.own_labels(HostEndpoint(metadata=Meta(labels={"role": "edge"}))) == {"role": "edge"}
