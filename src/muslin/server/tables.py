"""What `kubectl get` prints: the columns of each kind, after calicoctl's, computed here because kubectl cannot.

Wide columns are there with `-o wide` only. Cells are made of whatever the object holds: an
object that is not as it should be gives empty cells, never an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from muslin.server.refusals import Json
from muslin.server.served import Served

Cell = Callable[[Json], object]


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    cell: Cell
    wide: bool = False


def at(path: str) -> Cell:
    """The value under `spec.order`; a list as its entries joined by commas; nothing for what is absent."""
    return lambda obj: _plain(_look(obj, path))


def count(*paths: str) -> Cell:
    """How many entries the lists (or maps) under these paths have together."""

    def cell(obj: Json) -> object:
        found = [_look(obj, path) for path in paths]
        return sum(len(one) for one in found if isinstance(one, list | dict))

    return cell


def _look(obj: Any, path: str) -> Any:
    for step in path.split("."):
        obj = obj.get(step) if isinstance(obj, dict) else None
    return obj


def _plain(found: Any) -> object:
    if isinstance(found, list):
        return ",".join(str(_plain(item)) for item in found)
    if isinstance(found, dict):
        return ",".join(f"{name}={value}" for name, value in found.items())
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, float) and found.is_integer():
        return int(found)
    return "" if found is None else found


def _default(cell: Cell, instead: object) -> Cell:
    return lambda obj: cell(obj) or instead


def age(obj: Json) -> str:
    """As kubectl says it: 45s, 3m12s, 5m, 3h, 12d."""
    created = obj["metadata"].get("creationTimestamp")
    try:
        then = datetime.fromisoformat(str(created).replace("Z", "+00:00"))
    except ValueError:
        return "<unknown>"
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    seconds = max(0, int((datetime.now(UTC) - then).total_seconds()))
    return short(seconds)


def short(seconds: int) -> str:
    """A span of time in at most two units, as kubectl prints ages."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if days < 2:
        return f"{hours}h"
    return f"{days}d" if days < 730 else f"{days // 365}y"


def _address(obj: Json) -> object:
    """One workload, one address: the /32 goes without saying."""
    addresses = at("spec.ipNetworks")(obj)
    return str(addresses).replace("/32", "").replace("/128", "")


def _service_ports(obj: Json) -> object:
    return ",".join(f"{_plain(_look(port, 'port'))}/{_plain(_look(port, 'protocol')) or 'TCP'}"
                    for port in _list(obj, "spec.ports"))


def _slice_ports(obj: Json) -> object:
    return ",".join(str(_plain(_look(port, "port"))) for port in _list(obj, "ports"))


def _list(obj: Json, path: str) -> list[Any]:
    found = _look(obj, path)
    return found if isinstance(found, list) else []


_POLICY = (
    Column("Tier", _default(at("spec.tier"), "default")), Column("Order", at("spec.order")),
    Column("Types", at("spec.types")), Column("Selector", _default(at("spec.selector"), "all()")),
    Column("Ingress", count("spec.ingress"), wide=True), Column("Egress", count("spec.egress"), wide=True),
)
_STAGED = Column("Action", _default(at("spec.stagedAction"), "Set"))
def _workload(obj: Json) -> str:
    """Calico's name for every container of Docker is libnetwork: here it is the container's own."""
    annotations = _look(obj, "metadata.annotations")
    name = annotations.get("muslin.dev/container-name") if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else str(at("spec.workload")(obj))


COLUMNS: dict[str, tuple[Column, ...]] = {
    "Tier": (Column("Order", at("spec.order")), Column("Default", at("spec.defaultAction"))),
    "NetworkPolicy": _POLICY,
    "GlobalNetworkPolicy": _POLICY,
    "StagedNetworkPolicy": (_STAGED, *_POLICY),
    "StagedGlobalNetworkPolicy": (_STAGED, *_POLICY),
    "NetworkSet": (Column("Nets", count("spec.nets")), Column("Members", at("spec.nets"), wide=True)),
    "GlobalNetworkSet": (Column("Nets", count("spec.nets")), Column("Members", at("spec.nets"), wide=True)),
    "Profile": (Column("Labels", at("spec.labelsToApply")), Column("Ingress", count("spec.ingress"), wide=True),
                Column("Egress", count("spec.egress"), wide=True)),
    "WorkloadEndpoint": (
        Column("Workload", _workload), Column("Node", at("spec.node")), Column("Networks", _address),
        Column("Interface", at("spec.interfaceName")), Column("Profiles", at("spec.profiles"), wide=True),
        Column("MAC", at("spec.mac"), wide=True),
    ),
    "HostEndpoint": (
        Column("Node", at("spec.node")), Column("Interface", at("spec.interfaceName")),
        Column("IPs", at("spec.expectedIPs")), Column("Profiles", at("spec.profiles"), wide=True),
    ),
    "Node": (
        Column("ASN", _default(at("spec.bgp.asNumber"), "(global)")), Column("IPv4", at("spec.bgp.ipv4Address")),
        Column("IPv6", at("spec.bgp.ipv6Address")),
        Column("Reflector", at("spec.bgp.routeReflectorClusterID"), wide=True),
    ),
    "IPPool": (
        Column("CIDR", at("spec.cidr")), Column("NAT", at("spec.natOutgoing")),
        Column("Disabled", at("spec.disabled")), Column("Selector", _default(at("spec.nodeSelector"), "all()")),
        Column("Block", at("spec.blockSize"), wide=True), Column("IPIP", at("spec.ipipMode"), wide=True),
        Column("VXLAN", at("spec.vxlanMode"), wide=True), Column("BGP", lambda obj: (
            "withheld" if at("spec.disableBGPExport")(obj) == "true" else "exported"), wide=True),
    ),
    "IPReservation": (Column("CIDRs", at("spec.reservedCIDRs")),),
    "BGPConfiguration": (
        Column("ASN", at("spec.asNumber")), Column("Mesh", at("spec.nodeToNodeMeshEnabled")),
        Column("Log", at("spec.logSeverityScreen"), wide=True),
    ),
    "BGPPeer": (
        Column("Peer", lambda obj: at("spec.peerIP")(obj) or at("spec.peerSelector")(obj)),
        Column("Node", lambda obj: at("spec.node")(obj) or at("spec.nodeSelector")(obj) or "(global)"),
        Column("ASN", _default(at("spec.asNumber"), "(inherited)")), Column("Filters", at("spec.filters"), wide=True),
    ),
    "BGPFilter": (
        Column("Import", count("spec.importV4", "spec.importV6")),
        Column("Export", count("spec.exportV4", "spec.exportV6")),
    ),
    "KubeControllersConfiguration": (
        Column("AutoHostEndpoints", _default(at("spec.controllers.node.hostEndpoint.autoCreate"), "Disabled")),
        Column("Templates", count("spec.controllers.node.hostEndpoint.templates")),
    ),
    "ClusterInformation": (
        Column("Version", at("spec.calicoVersion")), Column("Ready", at("spec.datastoreReady")),
        Column("GUID", at("spec.clusterGUID"), wide=True),
    ),
    "Service": (
        Column("Type", _default(at("spec.type"), "ClusterIP")), Column("Cluster-IP", _default(at("spec.clusterIP"),
               "<none>")), Column("Port(s)", _service_ports), Column("Selector", at("spec.selector"), wide=True),
    ),
    "EndpointSlice": (
        Column("AddressType", at("addressType")), Column("Ports", _slice_ports),
        Column("Endpoints", lambda obj: _plain([_look(one, "addresses") for one in _list(obj, "endpoints")])),
    ),
    "ClusterConfiguration": (
        Column("Established-Flows", _default(at("spec.establishedFlows"), "Follow")),
        Column("Lockout-Guard", _default(at("spec.lockoutGuard"), "Enabled")),
    ),
    "DockerNetwork": (
        Column("Subnets", _default(at("spec.subnets"), "(any pool)")),
        Column("Policy", _default(at("spec.policy"), "same-network")),
        Column("Internal", _default(at("spec.internal"), "false")),
    ),
    "Namespace": (Column("Status", _default(at("status.phase"), "Active")),),
}
_POD_SELECTOR = Column("Pod-Selector", lambda obj: at("spec.podSelector.matchLabels")(obj) or "<none>")
_POLICY_TYPES = Column("Types", at("spec.policyTypes"), wide=True)
COLUMNS["StagedKubernetesNetworkPolicy"] = (_STAGED, _POD_SELECTOR, _POLICY_TYPES)
_PRIORITY = Column("Priority", at("spec.priority"))
_RULES = (Column("Ingress", count("spec.ingress"), wide=True), Column("Egress", count("spec.egress"), wide=True))
TRANSLATED_COLUMNS: dict[str, tuple[Column, ...]] = {
    "networkpolicies": (_POD_SELECTOR, _POLICY_TYPES),
    "adminnetworkpolicies": (_PRIORITY, *_RULES),
    "baselineadminnetworkpolicies": _RULES,
    "clusternetworkpolicies": (Column("Tier", at("spec.tier")), _PRIORITY, *_RULES),
}


def columns_of(served: Served) -> tuple[Column, ...]:
    return TRANSLATED_COLUMNS[served.plural] if served.translation else COLUMNS.get(served.kind.name, ())


def table(served: Served, objects: Iterable[Json], metadata: Json, *, include: str, head: bool = True) -> Json:
    """meta.k8s.io/v1 Table. `include`: how much of each object goes along (None, Metadata, Object); `head`: columns."""
    columns = columns_of(served)
    return {
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": _head(columns) if head else [],
        "rows": [_row(columns, obj, include) for obj in objects],
    }


def _head(columns: tuple[Column, ...]) -> list[Json]:
    def definition(title: str, *, form: str = "", wide: bool = False) -> Json:
        return {"name": title, "type": "string", "format": form, "description": "", "priority": int(wide)}

    return [
        definition("Name", form="name"),
        *(definition(column.title, wide=column.wide) for column in columns),
        definition("Age"),
    ]


def _row(columns: tuple[Column, ...], obj: Json, include: str) -> Json:
    cells = [obj["metadata"]["name"], *(column.cell(obj) for column in columns), age(obj)]
    if include == "None":
        return {"cells": cells}
    if include == "Object":
        return {"cells": cells, "object": obj}
    part = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
    return {"cells": cells, "object": part}
