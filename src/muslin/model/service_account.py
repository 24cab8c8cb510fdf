"""core/v1 ServiceAccount: policy sees its labels, on the workloads that run as it."""

from __future__ import annotations

from typing import Annotated, Any

from muslin.model.meta import Resource
from muslin.model.shape import about


class ServiceAccount(Resource, frozen=True, kw_only=True):
    """core/v1 ServiceAccount: its labels are what serviceAccountSelector sees. Policy reads nothing else of it."""

    api_version: str = "v1"
    secrets: Annotated[tuple[dict[str, Any], ...], about("As Kubernetes has it.")] = ()
    image_pull_secrets: Annotated[tuple[dict[str, Any], ...], about("As Kubernetes has it.")] = ()
    automount_service_account_token: Annotated[bool | None, about("As Kubernetes has it.")] = None
