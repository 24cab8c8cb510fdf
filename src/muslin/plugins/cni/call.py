"""A call as the executable hands it over: environment and network configuration, checked.

Network configurations are copied from other projects' pages, Calico's most of all. So fields that we have no use for
are accepted; fields that we use must have the right type, and each fault names the field.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from muslin.plugins.cni.faults import Code, Fault

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
COMMANDS = {"ADD": "0.3.0", "DEL": "0.3.0", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
"""Each with the version of the specification that brought it."""
POD_ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_INTERFACE = re.compile(r"[^/:\s]{1,15}")
_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_KNOWN_ARGS = frozenset({"IgnoreUnknown", "IP", "MAC", "K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_UID",
                         "K8S_POD_INFRA_CONTAINER_ID"})


class PortMapping(msgspec.Struct, frozen=True, rename="camel"):
    """runtimeConfig.portMappings. containerd writes the names with a capital letter, others without."""

    host_port: int = 0
    container_port: int = 0
    protocol: str = "tcp"
    host_ip: str = msgspec.field(default="", name="hostIP")


class Bandwidth(msgspec.Struct, frozen=True, rename="camel"):
    """runtimeConfig.bandwidth: rates in bit/s, bursts in bit. Ingress is towards the container."""

    ingress_rate: int = 0
    ingress_burst: int = 0
    egress_rate: int = 0
    egress_burst: int = 0


class Runtime(msgspec.Struct, frozen=True, rename="camel"):
    port_mappings: tuple[PortMapping, ...] | None = None
    ips: tuple[str, ...] | None = None
    mac: str | None = None
    bandwidth: Bandwidth | None = None
    annotations: dict[str, str] | None = msgspec.field(default=None, name=POD_ANNOTATIONS)


class Ipam(msgspec.Struct, frozen=True):
    """`assign_ipv4`, `assign_ipv6` are Calico's texts "true" and "false"; real booleans go as well."""

    type: str = ""
    assign_ipv4: str | bool | None = None
    assign_ipv6: str | bool | None = None
    ipv4_pools: tuple[str, ...] = ()
    ipv6_pools: tuple[str, ...] = ()


class Kubernetes(msgspec.Struct, frozen=True):
    """Where pods' labels and annotations are read."""

    kubeconfig: str = ""
    k8s_api_root: str = ""


class FeatureControl(msgspec.Struct, frozen=True):
    ip_addrs_no_ipam: bool = False
    floating_ips: bool = False


class Attachment(msgspec.Struct, frozen=True, rename={"container_id": "containerID", "interface": "ifname"}):
    """One of `cni.dev/valid-attachments`."""

    container_id: str
    interface: str


class Config(msgspec.Struct, frozen=True, rename="camel"):
    """The part of a network configuration that we read."""

    name: str = ""
    cni_version: str = ""
    type: str = ""
    mtu: int = 0
    namespace: str = ""
    labels: dict[str, str] = {}
    ipam: Ipam = Ipam()
    dns: dict[str, Any] = {}
    runtime_config: Runtime = Runtime()
    prev_result: dict[str, Any] | None = None
    kubernetes: Kubernetes | None = None
    feature_control: FeatureControl = msgspec.field(default=FeatureControl(), name="feature_control")
    valid_attachments: tuple[Attachment, ...] | None = msgspec.field(default=None, name="cni.dev/valid-attachments")
    args: dict[str, Any] = {}


class Call(msgspec.Struct, frozen=True, kw_only=True, rename={
    "container_id": "containerID", "interface": "ifName", "opened_netns": "openedNetns",
}):
    """`netns` as the caller names it, `opened_netns` where the agent finds it while the caller waits.
    `addresses`: the result of somebody else's address plugin."""

    command: str
    config: msgspec.Raw = msgspec.Raw(b"{}")
    container_id: str = ""
    netns: str = ""
    opened_netns: str = ""
    interface: str = ""
    args: str = ""
    addresses: dict[str, Any] | None = None


def version_of(call: Call) -> str:
    """The version that the answer must be written in, whatever else is wrong with the call."""
    try:
        found = msgspec.json.decode(call.config, type=dict[str, Any]).get("cniVersion")
    except msgspec.DecodeError:
        found = None
    return found if found in VERSIONS else "1.0.0"


def config_of(call: Call) -> Config:
    """Raises Fault, which names the field."""
    try:
        found = msgspec.json.decode(_with_small_letters(call.config), type=Config)
    except msgspec.DecodeError as error:
        raise Fault(Code.CONFIGURATION, f"the network configuration cannot be used: {_where(error)}") from None
    if found.cni_version not in VERSIONS:
        raise Fault(Code.VERSION, f"cniVersion {found.cni_version or '(none)'} is not spoken here",
                    f"write one of {', '.join(VERSIONS)}")
    if not _NETWORK.fullmatch(found.name):
        raise Fault(Code.CONFIGURATION, f"name {found.name!r} is no name of a network",
                    'write "name": with letters, digits, and _ . - between them')
    return found


def _with_small_letters(config: bytes) -> bytes:
    """HostPort, ContainerPort, Protocol, HostIP of containerd become what everybody else writes."""
    return re.sub(rb'"(HostPort|ContainerPort|Protocol|HostIP)"\s*:',
                  lambda found: b'"' + found[1][:1].lower() + found[1][1:] + b'":', config)


def _where(error: Exception) -> str:
    """msgspec's path, without its dollar."""
    return re.sub(r" - at `\$\.?(.*?)`", r" (at \1)", str(error))


def check(call: Call, config: Config) -> None:
    """What the environment must hold for this command. Raises Fault."""
    since = COMMANDS.get(call.command)
    if since is None:
        raise Fault(Code.ENVIRONMENT, f"CNI_COMMAND {call.command!r} is not known",
                    f"it is one of {', '.join((*COMMANDS, 'VERSION'))}")
    if VERSIONS.index(config.cni_version) < VERSIONS.index(since):
        raise Fault(Code.VERSION, f"{call.command} came with version {since}, the configuration says "
                    f"{config.cni_version}", f'write "cniVersion": "{since}" or newer')
    if call.command in ("GC", "STATUS"):
        return
    if not _CONTAINER_ID.fullmatch(call.container_id):
        raise Fault(Code.ENVIRONMENT, f"CNI_CONTAINERID {call.container_id!r} is no container's name",
                    "it begins with a letter or digit; letters, digits, and _ . - follow")
    if not _INTERFACE.fullmatch(call.interface) or call.interface in (".", ".."):
        raise Fault(Code.ENVIRONMENT, f"CNI_IFNAME {call.interface!r} cannot be an interface",
                    "1 to 15 characters, no slash, colon or blank")
    if not call.netns and call.command != "DEL":
        raise Fault(Code.ENVIRONMENT, f"CNI_NETNS is empty: {call.command} needs the container's network namespace")


def arguments(call: Call) -> dict[str, str]:
    """CNI_ARGS. Raises Fault for what is no KEY=VALUE, and for unknown keys unless IgnoreUnknown says otherwise."""
    found: dict[str, str] = {}
    for pair in filter(None, call.args.split(";")):
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise Fault(Code.ENVIRONMENT, f"CNI_ARGS: {pair!r} is not KEY=VALUE", "pairs are separated by ;")
        found[key] = value
    unknown = sorted(found.keys() - _KNOWN_ARGS)
    if unknown and found.get("IgnoreUnknown", "").lower() not in ("1", "true", "t"):
        raise Fault(Code.ENVIRONMENT, f"CNI_ARGS: {', '.join(unknown)} not known",
                    "leave it out, or add IgnoreUnknown=1")
    return found
