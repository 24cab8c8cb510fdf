"""FelixConfiguration: settings of the host agent, field for field as Calico v3's."""

from __future__ import annotations

from muslin.model.meta import Resource
from muslin.model.policy import Spec


class FelixConfigurationSpec(Spec, frozen=True, kw_only=True):
    interface_prefix: str = ""
    default_endpoint_to_host_action: str | None = None


class FelixConfiguration(Resource, frozen=True, kw_only=True):
    spec: FelixConfigurationSpec = FelixConfigurationSpec()
