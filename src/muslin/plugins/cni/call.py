"""A call as the executable hands it over: environment and network configuration, checked.

Network configurations are copied from other projects' pages, Calico's most of all. So fields that we have no use for
are accepted; fields that we use must have the right type, and each fault names the field.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from muslin.plugins.cni.faults import Code, Fault

Object = dict[str, Any]

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
COMMANDS = {"ADD": "0.3.0", "DEL": "0.3.0", "CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
"""Each with the version of the specification that brought it."""
OURS = ("", "muslin", "muslin-ipam", "calico-ipam")
"""Values of `ipam.type` that mean our own address management."""
NEVER = ("dhcp",)
"""Address plugins that cannot work here."""
ATTACHMENTS = "cni.dev/valid-attachments"
POD_ANNOTATIONS = "io.kubernetes.cri.pod-annotations"
_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_INTERFACE = re.compile(rb"[^/:%\s]{1,15}")
"""The kernel takes a % for a place where it is to put a number: another name would come out."""
NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
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
    subnet: str = ""
    ranges: tuple[tuple[dict[str, Any], ...], ...] = ()
    routes: tuple[dict[str, Any], ...] = ()


class Dns(msgspec.Struct, frozen=True, omit_defaults=True):
    """Goes into the result."""

    nameservers: tuple[str, ...] | None = None
    domain: str | None = None
    search: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None


class Kubernetes(msgspec.Struct, frozen=True):
    """Where pods' labels and annotations are read."""

    kubeconfig: str = ""
    k8s_api_root: str = ""


class FeatureControl(msgspec.Struct, frozen=True):
    ip_addrs_no_ipam: bool = False
    floating_ips: bool = False


class ContainerSettings(msgspec.Struct, frozen=True):
    allow_ip_forwarding: bool = False


class Attachment(msgspec.Struct, frozen=True, rename={"container_id": "containerID", "interface": "ifname"}):
    """One of `cni.dev/valid-attachments`."""

    container_id: str
    interface: str


class AnsweredInterface(msgspec.Struct, frozen=True):
    name: str = ""
    mac: str = ""
    sandbox: str = ""


class AnsweredAddress(msgspec.Struct, frozen=True):
    address: str


class Answered(msgspec.Struct, frozen=True):
    """The part of a result that CHECK compares."""

    interfaces: tuple[AnsweredInterface, ...] = ()
    ips: tuple[AnsweredAddress, ...] = ()


class Config(msgspec.Struct, frozen=True, rename="camel"):
    """The part of a network configuration that we read."""

    name: str = ""
    cni_version: str = ""
    type: str = ""
    mtu: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    namespace: str = ""
    labels: dict[str, str] = {}
    ipam: Ipam = Ipam()
    dns: Dns = Dns()
    runtime_config: Runtime = Runtime()
    prev_result: dict[str, Any] | None = None
    kubernetes: Kubernetes | None = None
    feature_control: FeatureControl = msgspec.field(default=FeatureControl(), name="feature_control")
    container_settings: ContainerSettings = msgspec.field(default=ContainerSettings(), name="container_settings")
    dataplane_options: dict[str, Any] = msgspec.field(default={}, name="dataplane_options")
    valid_attachments: tuple[Attachment, ...] | None = msgspec.field(default=None, name=ATTACHMENTS)
    args: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """`netns` as the caller names it, `opened_netns` where the agent finds it while the caller waits.

    `addresses`: the result of somebody else's address plugin, or `null`; empty while nobody has looked whether the
    configuration wants such a plugin to be run. `config`: the caller's standard input.
    """

    command: str
    container_id: str = ""
    netns: str = ""
    opened_netns: str = ""
    interface: str = ""
    args: str = ""
    addresses: bytes = b""
    config: bytes = b"{}"

    @classmethod
    def of(cls, text: bytes) -> Call:
        """As the executable writes it, see there. Raises Fault."""
        fields = text.split(b"\0", _FIELDS - 1)
        if len(fields) < _FIELDS:
            raise Fault(Code.UNREADABLE, "the call cannot be read: it has not all fields",
                        "agent and executable are of different versions? `muslin cni install` renews the executable")
        words = [field.decode(errors="replace") for field in fields[:-2]]
        return cls(command=words[0], container_id=words[1], netns=words[2], opened_netns=words[3], interface=words[4],
                   args=words[5], addresses=fields[-2], config=fields[-1])

    def text(self) -> bytes:
        """To be kept: the namespace is not open then."""
        words = (self.command, self.container_id, self.netns, "", self.interface, self.args)
        return b"\0".join((*(word.encode() for word in words), self.addresses, self.config))


_FIELDS = 8


def configuration(call: Call) -> Object:
    """Standard input, as whatever JSON object it is. Raises Fault."""
    try:
        found = msgspec.json.decode(call.config)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(Code.UNREADABLE, "the network configuration on standard input is not JSON", str(error)) from None
    if not isinstance(found, dict):
        raise Fault(Code.UNREADABLE, "the network configuration on standard input is not a JSON object",
                    f"it is {msgspec.json.encode(found)[:60].decode(errors='replace')}")
    return found


def version_of(document: Object) -> str:
    """The version that the answer must be written in, whatever else is wrong with the call."""
    found = document.get("cniVersion")
    return found if found in VERSIONS else "1.0.0"


def config_for_removal(document: Object) -> Config:
    """DEL must succeed also after somebody has made mistakes in the configuration: of what cannot be used only the
    namespace is needed, and the address plugin. Raises Fault, for a version that we do not speak."""
    try:
        found = config_of(document)
        names_address_plugin(found)
        return found
    except Fault as fault:
        if fault.code is Code.VERSION:
            raise
        namespace, ipam = document.get("namespace"), document.get("ipam")
        kind = ipam.get("type") if isinstance(ipam, dict) else None
        usable = isinstance(kind, str) and "/" not in kind and kind not in NEVER
        return Config(name=str(document.get("name") or ""), cni_version=version_of(document),
                      namespace=namespace if isinstance(namespace, str) else "",
                      ipam=Ipam(type=str(kind)) if usable else Ipam())


def config_of(document: Object) -> Config:
    """Raises Fault, which names the field."""
    try:
        given = {field: value for field, value in document.items() if value is not None}
        found = msgspec.convert(_with_small_letters(given) | _attachments(document), Config)
    except msgspec.ValidationError as error:
        raise Fault(Code.CONFIGURATION, f"the network configuration cannot be used: {where(error)}") from None
    if found.cni_version not in VERSIONS:
        raise Fault(Code.VERSION, f"cniVersion {found.cni_version or '(none)'} is not spoken here",
                    f"write one of {', '.join(VERSIONS)}")
    if not NETWORK.fullmatch(found.name):
        raise Fault(Code.CONFIGURATION, f"name {found.name!r} is no name of a network",
                    'write "name": with letters, digits, and _ . - between them')
    _refuse_what_is_not_here(found)
    return found


def _refuse_what_is_not_here(config: Config) -> None:
    """Fields of Calico's that would be betrayed if they were accepted and not followed. Raises Fault."""
    if config.ipam.type in NEVER:
        raise Fault(Code.UNSUPPORTED_FIELD, f"ipam.type {config.ipam.type!r} asks for an address on the container's"
                    " link, where nobody is but this host", 'write "ipam": {"type": "muslin"}, host-local or static')
    if kind := config.dataplane_options.get("type"):
        raise Fault(Code.UNSUPPORTED_FIELD, f"dataplane_options: the data plane {kind!r} is not here",
                    "leave the field out: the agent's FelixConfiguration says nftables or iptables")
    subnets = {config.ipam.subnet, *(str(one.get("subnet")) for several in config.ipam.ranges for one in several)}
    if subnets & {"usePodCidr", "usePodCidrIPv6"}:
        raise Fault(Code.UNSUPPORTED_FIELD, "ipam: usePodCidr asks for the Node's podCIDR, which is not read here",
                    'write the subnet, or "ipam": {"type": "muslin"} for addresses from the IPPools')
    narrow = [str(route.get("dst")) for route in config.ipam.routes if route.get("dst") not in ("0.0.0.0/0", "::/0")]
    if narrow:
        raise Fault(Code.UNSUPPORTED_FIELD, f"ipam.routes: {', '.join(narrow)}: a container's only route is the default"
                    " one", "leave ipam.routes out; a policy with egress rules says what it may reach")


def _with_small_letters(document: Object) -> Object:
    """HostPort, ContainerPort, Protocol, HostIP of containerd become what everybody else writes."""
    runtime = document.get("runtimeConfig")
    mappings = runtime.get("portMappings") if isinstance(runtime, dict) else None
    if not isinstance(runtime, dict) or not isinstance(mappings, list):
        return document
    small = [{key[:1].lower() + key[1:]: value for key, value in mapping.items()} if isinstance(mapping, dict)
             else mapping for mapping in mappings]
    return document | {"runtimeConfig": runtime | {"portMappings": small}}


def _attachments(document: Object) -> Object:
    """GC's list. libcni writes one of which nothing was said as null, and means an empty one; before July 2024 the
    specification had another name for it (containernetworking/cni pull request 1103)."""
    for name in (ATTACHMENTS, "cni.dev/attachments"):
        if name in document:
            return {ATTACHMENTS: [] if document[name] is None else document[name]}
    return {}


def where(error: Exception) -> str:
    """msgspec's path, without its dollar."""
    return re.sub(r" - at `\$\.?(.*?)`", r" (at \1)", str(error))


def names_address_plugin(config: Config) -> bool:
    """Somebody else's. Raises Fault."""
    if "/" in config.ipam.type:
        raise Fault(Code.CONFIGURATION, f"ipam.type {config.ipam.type!r} is no name of a plugin",
                    'write "ipam": {"type": "muslin"}, or the name of another address plugin')
    return config.ipam.type not in OURS


def addresses_of(call: Call) -> Object | None:
    """What somebody else's address plugin answered, None when none was asked. Raises Fault."""
    try:
        found = msgspec.json.decode(call.addresses or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Fault(Code.CONFIGURATION, f"the address plugin's answer is not JSON: {error}") from None
    if found is not None and not isinstance(found, dict):
        raise Fault(Code.CONFIGURATION, f"the address plugin's answer is a {type(found).__name__}, not a JSON object")
    return found


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
    if not _INTERFACE.fullmatch(call.interface.encode()) or call.interface in (".", ".."):
        raise Fault(Code.ENVIRONMENT, f"CNI_IFNAME {call.interface!r} cannot be an interface",
                    "1 to 15 bytes, no slash, colon, per cent sign or blank")
    if not call.netns and call.command != "DEL":
        raise Fault(Code.ENVIRONMENT, f"CNI_NETNS is empty: {call.command} needs the container's network namespace")


def arguments(call: Call, config: Config) -> dict[str, str]:
    """CNI_ARGS. Raises Fault for what is no KEY=VALUE, and for unknown keys unless IgnoreUnknown says otherwise; not
    for DEL. `static` knows one more."""
    found: dict[str, str] = {}
    if call.command == "DEL":
        return {key: value for key, _, value in (pair.partition("=") for pair in call.args.split(";")) if key}
    for pair in filter(None, call.args.split(";")):
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise Fault(Code.ENVIRONMENT, f"CNI_ARGS: {pair!r} is not KEY=VALUE", "pairs are separated by ;")
        found[key] = value
    known = _KNOWN_ARGS | ({"GATEWAY"} if names_address_plugin(config) else set())
    unknown = sorted(found.keys() - known)
    if unknown and found.get("IgnoreUnknown", "").lower() not in ("1", "true", "t"):
        raise Fault(Code.ENVIRONMENT, f"CNI_ARGS: {', '.join(unknown)} not known",
                    "leave it out, or add IgnoreUnknown=1")
    return found
