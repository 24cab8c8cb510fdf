"""`muslin lab`: a whole data centre of network namespaces on this machine, with real daemons."""

from __future__ import annotations

import asyncio

from muslin.cli.faults import Misused, Refused, meant
from muslin.cli.parsing import Parser

EXAMPLES = """
muslin lab demo                           a small shop with its policy, shown and left running
muslin lab up                             an empty lab: 2 racks, 2 hosts each, a router per rack, a spine
muslin lab up big --racks 4 --hosts 3 --spines 2
muslin lab exec demo r1h1 ip route        a command in a router, a host or a workload
muslin lab exec demo shop/api1            a shell in there
muslin lab test                           computed beside probed connectivity
muslin lab down
"""
MORE = "It needs root. Where one lab is up, its name may be left out (not for exec)."


def run(arguments: list[str]) -> int:
    actions = {"up": _up, "down": _down, "list": _list, "ls": _list, "exec": _exec, "test": _test, "demo": _demo}
    action = arguments[0] if arguments else ""
    if action in actions:
        return actions[action](arguments[1:])
    if action and not action.startswith("-"):
        raise Misused(f"muslin lab has no {action!r}: write {', '.join(actions)}{meant(action, actions)}")
    Parser("lab", "A data centre on this machine.", usage="demo|up|down|list|exec|test [NAME] [options]",
           examples=EXAMPLES, more=MORE).read(arguments or ["--help"])
    return 0


def _up(arguments: list[str]) -> int:
    parser = Parser("lab up", "Build a lab.", usage="[NAME] [options]", examples=EXAMPLES, more=MORE)
    parser.positional("name", nargs="?", default="lab", metavar="NAME")
    parser.add_argument("--racks", type=int, default=2, metavar="N", help="default: 2")
    parser.add_argument("--hosts", type=int, default=2, metavar="N", help="in each rack (default: 2)")
    parser.add_argument("--spines", type=int, default=1, metavar="N", help="default: 1")
    words = parser.read(arguments)
    from muslin.lab import verbs
    from muslin.lab.topology import Topology

    topology = Topology(name=words.name, racks=words.racks, hosts_per_rack=words.hosts, spines=words.spines)
    return asyncio.run(verbs.up(topology))


def _down(arguments: list[str]) -> int:
    parser = Parser("lab down", "Remove a lab whole.", usage="[NAME | --all]", examples=EXAMPLES, more=MORE)
    parser.positional("name", nargs="?", default="", metavar="NAME")
    parser.add_argument("--all", action="store_true", help="every lab of this machine")
    words = parser.read(arguments)
    from muslin.lab import verbs
    from muslin.lab.record import recorded

    names = recorded() if words.all else [the_one(words.name)]
    return max((asyncio.run(verbs.down(name)) for name in names), default=0)


def _list(arguments: list[str]) -> int:
    Parser("lab list", "Labs of this machine.", examples=EXAMPLES).read(arguments)
    from muslin.lab import verbs

    return verbs.listing()


def _exec(arguments: list[str]) -> int:
    """What stands behind the machine's name is a command and its own options, none of ours."""
    parser = Parser("lab exec", "A command in a router, host or workload.", usage="NAME MACHINE [COMMAND...]",
                    examples=EXAMPLES, more=MORE)
    if len(arguments) < 2 or arguments[0].startswith("-"):
        parser.read([word for word in arguments if word in ("-h", "--help", "--debug")])
        raise Misused("write muslin lab exec LAB MACHINE [COMMAND...]\n  see: muslin lab list, muslin lab exec --help")
    from muslin.lab import verbs

    name, machine, *command = arguments
    return verbs.execute(name, machine, command[1:] if command[:1] == ["--"] else command)


def _test(arguments: list[str]) -> int:
    parser = Parser("lab test", "Computed beside probed connectivity. Exit code 1 where they differ.",
                    usage="[NAME]", examples=EXAMPLES, more=MORE)
    parser.positional("name", nargs="?", default="", metavar="NAME")
    words = parser.read(arguments)
    from muslin.lab import verbs

    return asyncio.run(verbs.test(the_one(words.name)))


def _demo(arguments: list[str]) -> int:
    parser = Parser("lab demo", "A small application with its policy, in a lab of its own.", usage="[--check]",
                    examples=EXAMPLES, more=MORE)
    parser.add_argument("--check", action="store_true",
                        help="for machines: compare, time each stage, take everything down; exit 1 if they differ")
    words = parser.read(arguments)
    from muslin.lab.demo import demo

    return asyncio.run(demo(words.check))


def the_one(name: str) -> str:
    from muslin.lab.record import recorded

    there = recorded()
    if not name and len(there) == 1:
        return there[0]
    if not there:
        raise Refused("no lab is up: make one with muslin lab up")
    if not name:
        raise Misused(f"{len(there)} labs are up: say which, one of {', '.join(there)}")
    return name
