"""What holds for the whole cluster and is no setting of Calico's. There is one such object, named `default`."""

from __future__ import annotations

from typing import Annotated

from muslin.model.meta import Resource
from muslin.model.policy import Spec
from muslin.model.shape import about

GROUP_VERSION = "muslin.dev/v1"
FOLLOW, KEEP = "Follow", "Keep"
ENABLED, DISABLED = "Enabled", "Disabled"


class ClusterConfigurationSpec(Spec, frozen=True, kw_only=True):
    """Choices for all hosts and all users of the cluster."""

    established_flows: Annotated[str, about(
        "What becomes of flows that were allowed when policy denies them later. Follow (the default): they end within "
        "a second. Keep: they live on until they end by themselves, as in Calico.", enum=(FOLLOW, KEEP))] = ""
    lockout_guard: Annotated[str, about(
        "Whether a change that would cut hosts off from those who manage them is refused. Default: Enabled.",
        enum=(ENABLED, DISABLED))] = ""


class ClusterConfiguration(Resource, frozen=True, kw_only=True):
    """What holds for the whole cluster. There is one, named default; without it all defaults hold."""

    api_version: str = GROUP_VERSION
    spec: Annotated[ClusterConfigurationSpec, about("The choices.")] = ClusterConfigurationSpec()
