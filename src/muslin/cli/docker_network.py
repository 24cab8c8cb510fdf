"""`muslin docker network`: a network of Docker's on every host, by one command."""

from __future__ import annotations

import time
from typing import Any

from muslin.cli import screen
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, meant
from muslin.cli.parsing import Parser
from muslin.cli.screen import GREEN, RED, paint
from muslin.client.blocking import Client

EXAMPLES = """
muslin docker network create shop --subnet 10.65.8.0/24
muslin docker network create back --subnet 10.65.9.0/24 --subnet fd00:65:9::/112 --internal -o policy=deny
muslin docker network ls
muslin docker network rm shop
"""
MORE = """\
It is a DockerNetwork (`muslin get dockernetworks`): the agent of every host that has `muslin docker install` makes it
in its dockerd, now or when it joins, and removes it when the object is deleted. The command waits until all hosts that
are connected have done so; what a host cannot do, `ls` and `muslin status` say."""
PATH = "/apis/muslin.dev/v1/dockernetworks"
FOLLOWED = "/muslin/v1/followed/DockerNetwork"
_OPTIONS = {"policy": "policy", "mtu": "mtu", "com.docker.network.driver.mtu": "mtu"}
_WAIT, _LAST_WORD = 15.0, 4.0
_LOOK_EVERY = 0.2
Json = dict[str, Any]


def run(arguments: list[str]) -> int:
    actions = {"create": _create, "ls": _list, "rm": _remove}
    action = arguments[0] if arguments else ""
    if action in actions:
        return actions[action](arguments[1:])
    if action and not action.startswith("-"):
        raise Misused(f"muslin docker network has no {action!r}: write {', '.join(actions)}{meant(action, actions)}")
    Parser("docker network", "A Docker network on every host.", usage="create|ls|rm", examples=EXAMPLES,
           more=MORE).read(arguments or ["--help"])
    return 0


def _create(arguments: list[str]) -> int:
    parser = Parser("docker network create", "Make a Docker network on every host.", usage="NAME [options]",
                    examples=EXAMPLES, more=MORE)
    parser.positional("name", metavar="NAME")
    parser.add_argument("--subnet", action="append", default=[], metavar="PREFIX",
                        help="inside an IPPool; once for IPv4, once for IPv6; default: any pool")
    parser.add_argument("--internal", action="store_true", help="its containers do not reach the world")
    parser.add_argument("-o", "--opt", action="append", default=[], metavar="NAME=VALUE",
                        help="policy=same-network|open|deny, mtu=NUMBER")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="for its containers")
    words = parser.read(arguments)
    spec: Json = {"subnets": words.subnet} if words.subnet else {}
    spec |= {"internal": True} if words.internal else {}
    spec |= _options(words.opt)
    if words.label:
        spec["labels"] = dict(_pair("--label", text) for text in words.label)
    client = connect(words)
    client.post(PATH, {"apiVersion": "muslin.dev/v1", "kind": "DockerNetwork", "metadata": {"name": words.name},
                       "spec": spec})
    print(f"dockernetwork {words.name} created")
    return _told(client, words.name, gone=False)


def _options(texts: list[str]) -> Json:
    found: Json = {}
    for text in texts:
        name, value = _pair("-o", text)
        if name not in _OPTIONS:
            raise Misused(f"-o {name}: muslin knows policy and mtu{meant(name, _OPTIONS)}")
        field = _OPTIONS[name]
        if field == "mtu" and not value.isdigit():
            raise Misused(f"-o {name}={value}: write a number, such as 1400")
        found[field] = int(value) if field == "mtu" else value
    return found


def _pair(flag: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise Misused(f"{flag} {text}: write NAME=VALUE")
    return name, value


def _remove(arguments: list[str]) -> int:
    parser = Parser("docker network rm", "Remove Docker networks from every host.", usage="NAME...", examples=EXAMPLES)
    parser.positional("names", nargs="+", metavar="NAME")
    words = parser.read(arguments)
    client = connect(words)
    worst = 0
    for name in words.names:
        client.delete(f"{PATH}/{name}")
        print(f"dockernetwork {name} deleted")
        worst = max(worst, _told(client, name, gone=True))
    return worst


def _told(client: Client, name: str, *, gone: bool) -> int:
    """Waits for the hosts, and says what each says. 1: not all of them could."""
    begun = time.monotonic()
    while True:
        hosts = client.get(FOLLOWED)["hosts"]
        waiting = [host for host, states in hosts.items() if (name in states) == gone and not states.get(name)]
        wrong = {host: states[name] or "still there" for host, states in hosts.items()
                 if name in states and (states[name] or gone)}
        # Of what is to go, a host's last word may be of the time when it was to be made.
        enough = _WAIT if waiting else _LAST_WORD if wrong and gone else 0
        if time.monotonic() - begun >= enough:
            break
        time.sleep(_LOOK_EVERY)
    if not hosts:
        print("no host has Docker yet: run `muslin docker install` on each; the network is made there then")
    for host in hosts:
        if host in wrong:
            print(paint(f"{host}: {wrong[host]}", RED))
        elif host in waiting:
            print(paint(f"{host}: has not said anything within {_WAIT:.0f} s: muslin status", RED))
        else:
            print(f"{host}: {'removed' if gone else 'made'}")
    return 1 if wrong or waiting else 0


def _list(arguments: list[str]) -> int:
    parser = Parser("docker network ls", "Docker networks on every host, and how far each host is.", usage="",
                    examples=EXAMPLES)
    words = parser.read(arguments)
    client = connect(words)
    items = client.get(PATH)["items"]
    hosts = client.get(FOLLOWED)["hosts"]
    rows, wrong = [], []
    for item in items:
        name, spec = item["metadata"]["name"], item.get("spec") or {}
        made = [host for host, states in hosts.items() if states.get(name) == ""]
        rows.append([name, ",".join(spec.get("subnets") or ()) or "(any pool)", spec.get("policy") or "same-network",
                     "yes" if spec.get("internal") else "no", f"{len(made)}/{len(hosts)}"])
    for host, states in hosts.items():
        wrong += [f"{host}: {why}" for why in dict.fromkeys(states.values()) if why]
    print("\n".join(screen.columns([["NETWORK", "SUBNETS", "POLICY", "INTERNAL", "HOSTS"], *rows])))
    if wrong:
        print("\n" + "\n".join(paint(text, RED) for text in wrong))
    elif not hosts:
        print("\nno host has Docker yet: run `muslin docker install` on each")
    else:
        print("\n" + paint("all hosts have them", GREEN))
    return 1 if wrong else 0
