"""From a call to a request, and from a workload to a result, in the version that the caller speaks.

Whose endpoint it is:   K8S_POD_NAMESPACE and K8S_POD_NAME given   orchestrator k8s, named after the pod
                        otherwise                                  orchestrator cni, named after the container
Where addresses come from, the first that says something: an address plugin of somebody else's, runtimeConfig.ips,
args.cni.ips, CNI_ARGS IP, the pod's annotation; else ours, from the pools that the configuration or the pod names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from muslin.client.workload import Request, Workload
from muslin.drivers.plug import GATEWAY_V4, GATEWAY_V6, HOST_MAC
from muslin.model.names import DEFAULT_NAMESPACE
from muslin.net import parse_cidr, version_of
from muslin.plugins.cni.call import Bandwidth, Call, Config, PortMapping, addresses_of
from muslin.plugins.cni.faults import Code, Fault
from muslin.plugins.cni.pods import Pod

NETWORK = "muslin.dev/cni-network"
CONTAINER = "muslin.dev/container-id"
NETNS = "muslin.dev/netns"
_CALICO = "cni.projectcalico.org"
_QOS = "qos.projectcalico.org"
_SEGMENT = re.compile(r"[a-z0-9]([-.a-z0-9]{0,78}[a-z0-9])?")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
          "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_QOS_FIELDS = ("Bandwidth", "Burst", "Peakrate", "Minburst", "PacketRate", "PacketBurst", "MaxConnections")


def segment(word: str) -> str:
    """The word as a part of a resource's name; one that cannot be is replaced by its hash."""
    if _SEGMENT.fullmatch(word):
        return word
    return f"x{hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest()[:24]}"


def identity(call: Call, config: Config, arguments: Mapping[str, str]) -> Request:
    """Which endpoint the call speaks of, and nothing else."""
    pod, namespace = arguments.get("K8S_POD_NAME", ""), arguments.get("K8S_POD_NAMESPACE", "")
    if pod and namespace:
        return Request(name=pod, namespace=namespace, orchestrator="k8s", pod=pod, container_id=call.container_id,
                       endpoint=segment(call.interface), interface=call.interface)
    return Request(name=segment(pod or call.container_id), namespace=config.namespace or DEFAULT_NAMESPACE,
                   orchestrator="cni", container_id=segment(call.container_id), endpoint=segment(call.interface),
                   interface=call.interface)


def request(call: Call, config: Config, arguments: Mapping[str, str], pod: Pod) -> Request:
    """All that the call asks for. Raises Fault."""
    notes = (config.runtime_config.annotations or {}) | pod.annotations
    addresses, foreign = _addresses(call, config, arguments, notes)
    pools = _pools(config, notes)
    v4, v6 = _families(config, pools) if not addresses else (None, None)
    return msgspec.structs.replace(
        identity(call, config, arguments),
        netns=call.opened_netns or call.netns,
        labels={**config.labels, **pod.labels, "muslin.dev/network": segment(config.name)},  # nobody's to claim
        annotations={NETWORK: config.name, CONTAINER: call.container_id, NETNS: call.netns},
        service_account_name=pod.service_account,
        profiles=(),
        addresses=addresses,
        foreign_addresses=foreign,
        v4=v4,
        v6=v6,
        pools=pools,
        mac=_mac(config, arguments, notes),
        mtu=config.mtu,
        forwards=config.container_settings.allow_ip_forwarding,
        ports=(*pod.ports, *_published(config.runtime_config.port_mappings or ())),
        floating=_feature(notes, "floatingIPs", config.feature_control.floating_ips, "floating_ips"),
        spoofable=_listed(notes, f"{_CALICO}/allowedSourcePrefixes"),
        qos_controls=_limits(config.runtime_config.bandwidth, notes),
    )


def _addresses(
    call: Call, config: Config, arguments: Mapping[str, str], notes: Mapping[str, str]
) -> tuple[tuple[str, ...], bool]:
    """(addresses, whether they are somebody else's)"""
    if (answered := addresses_of(call)) is not None:
        given = tuple(str(ip.get("address", "")) for ip in answered.get("ips") or () if isinstance(ip, dict))
        if not given:
            raise Fault(Code.CONFIGURATION, "the address plugin answered without any address")
        return _bare(given, "the address plugin's answer"), True
    asked = _listed(notes, f"{_CALICO}/ipAddrs")
    if own := _feature(notes, "ipAddrsNoIpam", config.feature_control.ip_addrs_no_ipam, "ip_addrs_no_ipam"):
        if asked:
            raise Fault(Code.CONFIGURATION, f"annotations {_CALICO}/ipAddrs and ipAddrsNoIpam exclude each other",
                        "keep the one that is meant")
        return _bare(own, f"annotation {_CALICO}/ipAddrsNoIpam"), True
    spoken = config.args.get("cni") if isinstance(config.args.get("cni"), dict) else {}
    places = (
        (config.runtime_config.ips or (), "runtimeConfig.ips"),
        ((spoken or {}).get("ips") or (), "args.cni.ips"),
        (tuple(filter(None, arguments.get("IP", "").split(","))), "CNI_ARGS IP"),
        (asked, f"annotation {_CALICO}/ipAddrs"),
    )
    return next((_bare(given, where) for given, where in places if given), ()), False


def _bare(given: Iterable[Any], where: str) -> tuple[str, ...]:
    """Without lengths: a workload's address is its own, not a piece of a subnet."""
    found = []
    for text in given:
        try:
            parse_cidr(str(text))
        except ValueError as error:
            raise Fault(Code.CONFIGURATION, f"{where}: {error}") from None
        found.append(str(text).partition("/")[0])
    return tuple(dict.fromkeys(found))


def _families(config: Config, pools: tuple[str, ...]) -> tuple[int | None, int | None]:
    """How many addresses of IPv4 and IPv6; None: one, if a pool has some. Where pools are named those decide, unless a
    family is asked for in words."""
    asked = [_asked(config.ipam.assign_ipv4, "assign_ipv4"), _asked(config.ipam.assign_ipv6, "assign_ipv6")]
    if asked == [False, False]:
        raise Fault(Code.CONFIGURATION, "ipam: assign_ipv4 and assign_ipv6 are both false: the container would have no"
                    " address", 'write "true" for one of them')
    v4, v6 = (0 if each is False else int(each) if each and pools else None for each in asked)
    return v4, v6


def _asked(assign: str | bool | None, field: str) -> bool | None:
    if assign is None:
        return None
    if str(assign).lower() not in ("true", "false"):
        raise Fault(Code.CONFIGURATION, f"ipam.{field} is {assign!r}", 'write "true" or "false"')
    return str(assign).lower() == "true"


def _pools(config: Config, notes: Mapping[str, str]) -> tuple[str, ...]:
    """The pod's annotation wins, then its namespace's, family by family."""
    found: list[str] = []
    for family, configured in (("ipv4", config.ipam.ipv4_pools), ("ipv6", config.ipam.ipv6_pools)):
        found += _listed(notes, f"{_CALICO}/{family}pools") or configured
    return tuple(found)


def _mac(config: Config, arguments: Mapping[str, str], notes: Mapping[str, str]) -> str:
    spoken = config.args.get("cni")
    by_args = spoken.get("mac", "") if isinstance(spoken, dict) else ""
    found = str(config.runtime_config.mac or by_args or arguments.get("MAC", "") or notes.get(f"{_CALICO}/hwAddr", ""))
    return found.lower().replace("-", ":")


def _listed(notes: Mapping[str, str], name: str) -> tuple[str, ...]:
    """An annotation that holds a JSON list of texts."""
    text = notes.get(name, "")
    if not text:
        return ()
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Fault(Code.CONFIGURATION, f"annotation {name} is {text!r}", 'write a JSON list: ["10.0.0.7"]') from None


def _feature(notes: Mapping[str, str], name: str, is_on: bool, switch: str) -> tuple[str, ...]:
    """An annotation that the configuration must allow: it gives pods what is not from the pools. Raises Fault."""
    found = _listed(notes, f"{_CALICO}/{name}")
    if found and not is_on:
        raise Fault(Code.CONFIGURATION, f"annotation {_CALICO}/{name} is not allowed here",
                    f'"feature_control": {{"{switch}": true}} in the network configuration allows it')
    return found


def _published(mappings: Iterable[PortMapping]) -> Iterable[dict[str, Any]]:
    for mapping in mappings:
        if mapping.host_port:
            port: dict[str, Any] = {"protocol": mapping.protocol.upper(), "port": mapping.container_port,
                                    "hostPort": mapping.host_port}
            yield port | ({"hostIP": mapping.host_ip} if mapping.host_ip else {})


def _limits(bandwidth: Bandwidth | None, notes: Mapping[str, str]) -> dict[str, Any]:
    """spec.qosControls: Calico's annotations, then Kubernetes', then the runtime's."""
    found: dict[str, Any] = {}
    for direction in ("ingress", "egress"):
        for field in _QOS_FIELDS:
            if text := notes.get(f"{_QOS}/{direction}{field}", ""):
                found[f"{direction}{field}"] = _quantity(text, f"{_QOS}/{direction}{field}")
        if text := notes.get(f"kubernetes.io/{direction}-bandwidth", ""):
            found.setdefault(f"{direction}Bandwidth", _quantity(text, f"kubernetes.io/{direction}-bandwidth"))
    if bandwidth is not None:
        for field, value in (("ingressBandwidth", bandwidth.ingress_rate), ("ingressBurst", bandwidth.ingress_burst),
                             ("egressBandwidth", bandwidth.egress_rate), ("egressBurst", bandwidth.egress_burst)):
            if value:
                found[field] = value
    if text := notes.get(f"{_QOS}/dscp", ""):
        found["dscp"] = int(text) if text.isdigit() else text
    return found


def _quantity(text: str, where: str) -> int:
    """`10M` is ten million, `10Mi` 10485760, as Kubernetes writes quantities."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise Fault(Code.CONFIGURATION, f"annotation {where} is {text!r}", "write a quantity such as 10M")
    return int(float(found[1]) * _UNITS[found[2]])


def result(workload: Workload, call: Call, config: Config) -> dict[str, Any]:
    """What ADD answers: an interface on the host and one in the container, which has the addresses."""
    version = config.cni_version
    host: dict[str, Any] = {"name": workload.interface, "mac": HOST_MAC}
    inner: dict[str, Any] = {"name": call.interface, "mac": workload.mac, "sandbox": call.netns}
    if version == "1.1.0" and workload.mtu:
        host["mtu"] = inner["mtu"] = workload.mtu
    families = dict.fromkeys(version_of(address) for address in workload.addresses)
    ips = [_ip(address, version) for address in workload.addresses]
    routes = [{"dst": "0.0.0.0/0", "gw": GATEWAY_V4} if family == 4 else {"dst": "::/0", "gw": GATEWAY_V6}
              for family in families]
    foreign = (addresses_of(call) or {}).get("dns")
    return {"cniVersion": version, "interfaces": [host, inner], "ips": ips, "routes": routes,
            "dns": foreign or msgspec.to_builtins(config.dns)}


def _ip(address: str, version: str) -> dict[str, Any]:
    family = version_of(address)
    gateway = GATEWAY_V4 if family == 4 else GATEWAY_V6
    found: dict[str, Any] = {"interface": 1, "address": address, "gateway": gateway}
    return {"version": str(family), **found} if version.startswith("0.") else found
