"""Docker's words as ours: options, labels, ports, and the Profile that a network's policy becomes.

Default of a network: its containers talk to each other and to the world, others do not reach them. `-o policy=open`
lets everybody in, `-o policy=deny` leaves all to policies. `--internal` keeps its containers from the world, too. A
published port is open to everybody, as Docker's users expect.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from muslin.model.docker import LEAST_MTU, MOST_MTU, POLICIES
from muslin.net import Cidr, contains, parse_cidr, version_of
from muslin.plugins.docker.book import Network, Publication
from muslin.plugins.docker.faults import Refused

Object = dict[str, Any]
DRIVER = "muslin"
NAMESPACE = "docker"
ORCHESTRATOR = "libnetwork"
NETWORK_LABEL, NAME_LABEL = "docker.network", "docker.name"
MADE_FOR = "muslin.dev/docker-network"
PUBLISHED = "published"
"""Name of the port that a published port becomes."""
ANY = {4: "0.0.0.0/0", 6: "::/0"}
FOLLOWED = "muslin.dev/dockernetwork"
"""Label of networks that were made for a DockerNetwork."""
MTU = "com.docker.network.driver.mtu"
_OPTIONS = ("net", "policy", MTU)
_GENERIC = "com.docker.network.generic"
_INTERNAL = "com.docker.network.internal"
PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NET = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
"""It is a label's value."""


# ---- networks


def pool_id(pool: str, part: str = "") -> str:
    return f"{DRIVER}/{pool}" + (f"#{part}" if part else "")


def pool_of(text: str) -> tuple[Cidr, Cidr]:
    """(subnet, part of it that automatic addresses come from) of a PoolID. Raises Refused."""
    space, _, rest = text.partition("/")
    pool, _, part = rest.partition("#")
    if space != DRIVER:
        raise Refused(f"pool {text!r} is not muslin's: create the network with --ipam-driver {DRIVER}")
    return parse_cidr(pool), parse_cidr(part or pool)


def subnet(pool: str, part: str, pools: Mapping[str, tuple[Cidr, int]]) -> str:
    """The PoolID for a subnet that docker asks for; `pools`: our IPPools by name, and how long a block's prefix is.
    Raises Refused."""
    wanted = _prefix("--subnet", pool)
    narrow = _prefix("--ip-range", part) if part else wanted
    around = [(name, size) for name, (cidr, size) in pools.items()
              if version_of(cidr) == version_of(wanted) and contains(cidr, wanted)]
    for name, size in around:
        for what, prefix in (("subnet", wanted), ("--ip-range", narrow)):
            if size and int(prefix.partition("/")[2]) > size:
                raise Refused(f"{what} {prefix} is smaller than a block of IPPool {name} (/{size}), and hosts take"
                              f" whole blocks: take a /{size} or larger")
    if not around:
        there = ", ".join(f"{name} {cidr}" for name, (cidr, _) in sorted(pools.items())) or "none"
        raise Refused(f"subnet {wanted} is in no IPPool (there are: {there}): take one inside a pool, or make a pool"
                      f" with `muslin create ippool NAME --cidr {wanted}`")
    if not contains(wanted, narrow):
        raise Refused(f"--ip-range {part} is not inside --subnet {wanted}")
    return pool_id(wanted, narrow if part else "")


def _prefix(flag: str, text: str) -> Cidr:
    try:
        return parse_cidr(text)
    except ValueError as error:
        raise Refused(f"{flag} {error}") from None


def network(call: Object) -> Network:
    """Of CreateNetwork. Raises Refused."""
    options = call.get("Options") or {}
    generic = options.get(_GENERIC) or {}
    unknown = sorted(name for name in generic if name not in _OPTIONS and not name.startswith("com.docker."))
    if unknown:
        raise Refused(f"-o {unknown[0]} is not known to muslin: it knows {', '.join(_OPTIONS)}")
    policy = generic.get("policy") or POLICIES[0]
    if policy not in POLICIES:
        raise Refused(f"-o policy={policy}: write one of {', '.join(POLICIES)}")
    if generic.get("net") and not _NET.fullmatch(generic["net"]):
        raise Refused(f"-o net={generic['net']}: write lower-case letters, digits, '-' and '.', 63 at most")
    mtu = str(generic.get(MTU) or "0")
    if not mtu.isdigit() or (int(mtu) and not LEAST_MTU <= int(mtu) <= MOST_MTU):
        raise Refused(f"-o {MTU}={mtu}: write a number from {LEAST_MTU} to {MOST_MTU}, such as 1400")
    data = [*(call.get("IPv4Data") or ()), *(call.get("IPv6Data") or ())]
    for each in data:
        if each.get("AddressSpace") != DRIVER:
            raise Refused("addresses of this network come from another driver: create it with "
                          f"`docker network create --driver {DRIVER} --ipam-driver {DRIVER} ...`")
    gateways = [str(each.get("Gateway", "")).partition("/")[0] for each in call.get("IPv4Data") or ()]
    return Network(id=call["NetworkID"], net=generic.get("net") or "", policy=policy, mtu=int(mtu),
                   internal=bool(options.get(_INTERNAL)), gateway=next(filter(None, gateways), ""),
                   subnets=tuple(str(each.get("Pool", "")) for each in data))


def own_subnets(network: Network) -> tuple[Cidr, ...]:
    """Those that it was given; none where its addresses come from any pool."""
    return tuple(parse_cidr(subnet) for subnet in network.subnets if subnet and subnet not in ANY.values())


def inspected(found: Object) -> Network:
    """The same from `docker network inspect`, after our book was lost."""
    options = found.get("Options") or {}
    config = (found.get("IPAM") or {}).get("Config") or ()
    four = [each for each in config if ":" not in str(each.get("Subnet", ""))]
    return Network(
        id=found["Id"], net=options.get("net") or "", policy=options.get("policy") or POLICIES[0],
        internal=bool(found.get("Internal")), mtu=int(options.get(MTU) or 0),
        gateway=next((str(each["Gateway"]) for each in four if each.get("Gateway")), ""),
        subnets=tuple(str(each.get("Subnet", "")) for each in config),
    )


def net_name(name: str) -> str:
    """A docker network's name as part of ours."""
    lower = name.lower().replace("_", "-")
    return lower if _NET.fullmatch(lower) else f"x{_short(name)}"


def profile_name(net: str) -> str:
    return f"docker.{net}"


def profile(net: str, network: Network, labels: Mapping[str, str]) -> Object:
    """What governs its containers while no policy selects them."""
    peers = {"selector": f"{NETWORK_LABEL} == '{net}'"}
    published = [{"action": "Allow", "protocol": protocol, "destination": {"ports": [PUBLISHED]}}
                 for protocol in PROTOCOLS.values()]
    ingress: list[Object] = [{"action": "Allow", "source": peers}, *published]
    egress: list[Object] = [{"action": "Allow", "destination": peers} if network.internal else {"action": "Allow"}]
    if network.policy == "open":
        ingress = [{"action": "Allow"}]
    if network.policy == "deny":
        ingress, egress = [], []
    spec: Object = {"ingress": ingress, "egress": egress, "labelsToApply": dict(labels)}
    return {"apiVersion": "projectcalico.org/v3", "kind": "Profile",
            "metadata": {"name": profile_name(net), "annotations": {MADE_FOR: net}},
            "spec": {field: value for field, value in spec.items() if value}}


# ---- containers


def labels(found: Mapping[str, str]) -> dict[str, str]:
    """Docker's labels as ours: a value that cannot be one keeps its readable part and gets a hash, so that two
    different ones stay different. A key that cannot be one is left out."""
    return {key: _label_value(str(value)) for key, value in found.items() if _KEY.fullmatch(key)}


def _label_value(value: str) -> str:
    if _VALUE.fullmatch(value):
        return value
    readable = re.sub(r"[^A-Za-z0-9_.]+", "-", value)[:50].strip("-_.")
    return f"{readable}-{_short(value)}" if readable else _short(value)


def _short(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:10]


_NAME = re.compile(r"[A-Za-z0-9_]([-A-Za-z0-9_.]*[A-Za-z0-9_])?")
_SHORT_ID, _LONGEST_NAME = 12, 63


def first_names(container: str, identity: str, labels: Mapping[str, str]) -> tuple[str, ...]:
    """What a container is called before dockerd tells its aliases: its name, compose's service, the short id."""
    return _names(container, labels.get("com.docker.compose.service", ""), identity[:_SHORT_ID])


def names(found: Object, endpoint: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """With the aliases of `docker inspect`, for one endpoint."""
    of_network = _of_endpoint(found, endpoint)
    return _names(*known, *(of_network.get("Aliases") or ()), *(of_network.get("DNSNames") or ()))


def link_local(found: Object, endpoint: str) -> str:
    """The address that `docker inspect` says --link-local-ip asked for, "" for none."""
    asked = (_of_endpoint(found, endpoint).get("IPAMConfig") or {}).get("LinkLocalIPs") or ()
    return str(next(iter(asked), ""))


def _of_endpoint(found: Object, endpoint: str) -> Object:
    networks = ((found.get("NetworkSettings") or {}).get("Networks") or {}).values()
    return next((each for each in networks if each.get("EndpointID") == endpoint), {})


def _names(*texts: str) -> tuple[str, ...]:
    """Those that a question can carry; blanks divide them where they are written down."""
    fit = [text for text in texts if _NAME.fullmatch(text) and all(
        0 < len(label) <= _LONGEST_NAME for label in text.split("."))]
    return tuple(dict.fromkeys(fit))


def driver_labels(options: Mapping[str, Any]) -> dict[str, str]:
    """`--network name=NET,driver-opt=color=red`."""
    return labels({key: value for key, value in options.items()
                   if isinstance(value, str) and not key.startswith("com.docker.")})


def ports(publications: Iterable[Publication]) -> tuple[Object, ...]:
    """As WorkloadEndpoint.spec.ports."""
    return tuple(
        {"name": PUBLISHED, "protocol": each.protocol, "port": each.port, "hostPort": each.host_port}
        | ({"hostIP": each.host_ip} if each.host_ip else {})
        for each in publications
    )
