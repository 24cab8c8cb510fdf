"""EndpointSlices for services whose files have none: what Kubernetes itself would make of their selectors.

Only a cluster has EndpointSlices; a chart has the Service, and the pods that it selects. A rule that names the service
means those pods, by the ports that the service leads to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from muslin.model.endpoint import WorkloadEndpoint
from muslin.model.meta import Meta, Resource, ResourceKey
from muslin.model.service import SERVICE_NAME, EndpointSlice, Service, ServicePort, SliceEndpoint, SlicePort
from muslin.net import version_of

_FAMILIES = {4: "IPv4", 6: "IPv6"}


def slices(resources: Mapping[ResourceKey, Resource]) -> Iterator[EndpointSlice]:
    """Of all services that select somebody and have no slice."""
    served = {(key.namespace, one.metadata.labels.get(SERVICE_NAME, "")) for key, one in resources.items()
              if isinstance(one, EndpointSlice)}
    endpoints = [one for one in resources.values() if isinstance(one, WorkloadEndpoint)]
    for key, service in sorted(resources.items()):
        if isinstance(service, Service) and service.spec.selector and (key.namespace, key.name) not in served:
            yield from _slices(key, service, [one for one in endpoints if _selects(service, one)])


def _selects(service: Service, endpoint: WorkloadEndpoint) -> bool:
    return endpoint.metadata.namespace == service.metadata.namespace and all(
        endpoint.metadata.labels.get(name) == value for name, value in service.spec.selector.items())


def _slices(key: ResourceKey, service: Service, chosen: list[WorkloadEndpoint]) -> Iterator[EndpointSlice]:
    """One for each family and each list of ports: a port's name may mean different numbers in different pods."""
    groups: dict[tuple[int, tuple[SlicePort, ...]], list[SliceEndpoint]] = {}
    for endpoint in chosen:
        ports = tuple(port for one in service.spec.ports if (port := _port(one, endpoint)) is not None)
        for version in (4, 6):
            found = tuple(net.partition("/")[0] for net in endpoint.spec.ip_networks if version_of(net) == version)
            if found and ports:
                groups.setdefault((version, ports), []).append(SliceEndpoint(addresses=found[:1]))
    for number, ((version, ports), endpoints) in enumerate(groups.items()):
        yield EndpointSlice(
            kind="EndpointSlice",
            metadata=Meta(name=f"{key.name}-{number}", namespace=key.namespace, labels={SERVICE_NAME: key.name}),
            address_type=_FAMILIES[version], endpoints=tuple(endpoints), ports=ports)


def _port(port: ServicePort, endpoint: WorkloadEndpoint) -> SlicePort | None:
    """None: the pod has no port of that name."""
    protocol, target = port.protocol or "TCP", port.target_port
    if isinstance(target, str) and not target.isdigit():
        number = next((one.port for one in endpoint.spec.ports
                       if one.name == target and str(one.protocol).upper() == protocol), None)
        return SlicePort(name=port.name, protocol=protocol, port=number) if number else None
    return SlicePort(name=port.name, protocol=protocol, port=int(target or port.port))
