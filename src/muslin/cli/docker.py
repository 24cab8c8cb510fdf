"""`muslin docker`: make this host's dockerd use muslin."""

from __future__ import annotations

from pathlib import Path

from muslin.cli import docker_network, screen
from muslin.cli.agents import agent
from muslin.cli.faults import Misused, Refused
from muslin.cli.parsing import Parser

EXAMPLES = """
muslin docker install                    once per host; dockerd needs no restart
docker network create -d muslin --ipam-driver muslin --subnet 10.65.8.0/24 shop
docker run --network shop --label app=web nginx
muslin docker network create shop --subnet 10.65.8.0/24       on every host, also those that join later
muslin docker network ls                 and how far each host is
muslin docker port                       which ports of this host lead to which container
muslin docker uninstall
"""
MORE = """\
A network's containers reach each other, on every host that has a network of that name, and the world; others do not
reach them, apart from published ports. -o policy=open or -o policy=deny changes that; labels of containers, networks
and compose are labels for policies: `muslin get workloadendpoints -n docker --show-labels`."""
PLUGINS = "/etc/docker/plugins"


def run(arguments: list[str]) -> int:
    if arguments[:1] == ["network"]:
        return docker_network.run(arguments[1:])
    parser = Parser("docker", "Make this host's dockerd use muslin; networks on every host.",
                    usage="install|uninstall|show|port [CONTAINER]|network [options]", examples=EXAMPLES, more=MORE)
    parser.positional("verb", nargs="?", default="", metavar="install|uninstall|show|port|network")
    parser.positional("container", nargs="?", default="", metavar="CONTAINER")
    parser.add_argument("--host", default="", metavar="NAME", help="the agent, where several run on this machine")
    parser.add_argument("--docker", default="unix:/var/run/docker.sock", metavar="ADDRESS", help="of dockerd")
    parser.add_argument("--plugin-dir", default=PLUGINS, metavar="DIR", help=f"default: {PLUGINS}")
    words = parser.read(arguments)
    if words.verb not in ("install", "uninstall", "show", "port") or (words.container and words.verb != "port"):
        raise Misused("muslin docker install, uninstall, show, port or network\n  see: muslin docker --help")
    if not words.docker.startswith("unix:/"):
        raise Misused(f"--docker {words.docker}: write unix:PATH, the socket of this host's dockerd")
    client = agent(words.host)
    spec = Path(words.plugin_dir, "muslin.spec")
    if words.verb == "show":
        found = client.get("/v1/docker")
        print("\n".join(f"{name}: {value}" for name, value in found.items() if not isinstance(value, dict)))
        return 0
    if words.verb == "port":
        return _ports(client.get("/v1/docker")["published"], words.container)
    if words.verb == "uninstall":
        client.put("/v1/docker", {"docker": words.docker, "enabled": False})
        spec.unlink(missing_ok=True)
        print(f"removed {spec}")
        return 0
    found = client.put("/v1/docker", {"docker": words.docker, "enabled": True})
    try:
        spec.parent.mkdir(parents=True, exist_ok=True)
        spec.write_text(f"unix://{found['socket']}\n")
    except OSError as error:
        raise Refused(f"{spec}: {error.strerror}: `muslin docker install` needs root") from None
    print(f"{spec}: dockerd's networks of driver muslin are now made by the agent of {found['node']}")
    return 0


def _ports(published: dict[str, list[str]], container: str) -> int:
    """`docker port` shows none of a foreign driver."""
    if container:
        print("\n".join(published.get(container, [])) or f"{container} publishes no port on this host")
        return 0 if container in published else 1
    rows = [[name, *port.split(" -> ")] for name, ports in sorted(published.items()) for port in ports]
    print("\n".join(screen.columns([["CONTAINER", "PORT", "OF THIS HOST"], *rows])))
    return 0
