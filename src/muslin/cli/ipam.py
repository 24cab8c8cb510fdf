"""`muslin ipam`: the books of the addresses, as calicoctl's `ipam` shows them."""

from __future__ import annotations

import json
from typing import Any

from muslin.cli import output, screen
from muslin.cli.connection import connect
from muslin.cli.faults import Misused, Refused, meant
from muslin.cli.parsing import Parser
from muslin.client.blocking import Client

EXAMPLES = """
muslin ipam show                          how full the pools are
muslin ipam show --blocks                 and which host has which block
muslin ipam show --ip 10.65.0.7           who has this address
muslin ipam check                         addresses that nobody uses, endpoints that use what is not theirs
muslin ipam release --ip 10.65.0.7        by hand; --handle NAME for all that one owner holds
muslin ipam configure --strict-affinity true
"""
ADDRESSES = "/muslin/v1/addresses"
HUGE = 1 << 32


def run(arguments: list[str]) -> int:
    actions = {"show": _show, "check": _check, "release": _release, "configure": _configure}
    action = arguments[0] if arguments else ""
    if action in actions:
        return actions[action](arguments[1:])
    if action and not action.startswith("-"):
        raise Misused(f"muslin ipam has no {action!r}: write {', '.join(actions)}{meant(action, actions)}")
    Parser("ipam", "Address blocks: who has which address.", usage="show|check|release|configure [options]",
           examples=EXAMPLES).read(arguments or ["--help"])
    return 0


def _show(arguments: list[str]) -> int:
    parser = Parser("ipam show", "How full the pools are, and who has what.", usage="[options]", examples=EXAMPLES)
    parser.add_argument("--blocks", action="store_true", help="with every block and its host")
    parser.add_argument("--ip", default="", metavar="ADDRESS", help="who has this address")
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    books = connect(words).get(ADDRESSES)
    if form == "json":
        print(json.dumps(books, indent=2))
        return 0
    if words.ip:
        return _one(books, words.ip)
    rows = [[each["name"], each["cidr"], *_numbers(each)] for each in books["pools"]]
    print("\n".join(screen.columns([["POOL", "CIDR", "ADDRESSES", "IN USE", "FREE"], *rows])))
    if words.blocks:
        rows = [[each["cidr"], each["host"] or "<none>", *_numbers(each), ",".join(each["borrowers"]) or "<none>"]
                for each in books["blocks"]]
        print()
        print("\n".join(screen.columns([["BLOCK", "HOST", "ADDRESSES", "IN USE", "FREE", "BORROWED BY"], *rows])))
    return 0


def _numbers(usage: dict[str, Any]) -> list[str]:
    free = usage["size"] - usage["used"]
    return [_count(usage["size"]), str(usage["used"]), _count(free)]


def _count(number: int) -> str:
    """A /48 of IPv6 has a number of addresses that nobody reads."""
    return str(number) if number < HUGE else f"about 2^{(number - 1).bit_length()}"


def _one(books: dict[str, Any], text: str) -> int:
    from muslin.net import contains, parse_address, parse_cidr

    try:
        address = parse_address(text)
    except ValueError as error:
        raise Misused(f"--ip: {error}: write one address") from None
    if holder := books["addresses"].get(address):
        more = ", ".join(f"{key} {value}" for key, value in holder.items() if key != "handle")
        print(f"{address} is held by {holder['handle'] or 'nobody named'}" + (f" ({more})" if more else ""))
        return 0
    pool = next((p for p in books["pools"] if contains(p["cidr"], parse_cidr(address))), None)
    print(f"{address} is free, in pool {pool['name']}" if pool else f"{address} is in no enabled pool")
    return 0


def _check(arguments: list[str]) -> int:
    parser = Parser("ipam check", "Do the books agree with the endpoints? Exit code 1 if not.", usage="[-o json]",
                    examples=EXAMPLES)
    output.option(parser, "table or json")
    words = parser.read(arguments)
    form = output.form(words.output, ("table", "json"))
    troubles = connect(words).get(ADDRESSES)["troubles"]
    if form == "json":
        print(json.dumps({"ok": not troubles, "troubles": troubles}, indent=2))
    for trouble in troubles if form == "table" else ():
        print(f"{screen.paint(trouble['what'], screen.RED)}\n    {trouble['mend']}")
    if form == "table" and not troubles:
        print("the books agree with the endpoints")
    return 1 if troubles else 0


def _release(arguments: list[str]) -> int:
    parser = Parser("ipam release", "Give addresses back by hand.", examples=EXAMPLES,
                    usage="--ip ADDRESS... | --handle NAME | --host NODE",
                    more="An address that an endpoint uses is refused: another would get it as well.")
    parser.add_argument("--ip", action="append", default=[], metavar="ADDRESS", help="may be repeated")
    parser.add_argument("--handle", default="", metavar="NAME", help="all that this owner holds")
    parser.add_argument("--host", default="", metavar="NODE", help="the blocks of a host that is gone for good")
    parser.add_argument("--force", action="store_true", help="with --ip: also what an endpoint uses")
    words = parser.read(arguments)
    given = {"addresses": words.ip, "handle": words.handle, "host": words.host}
    body = {key: value for key, value in given.items() if value}
    if len(body) != 1:
        raise Misused("say what: --ip ADDRESS, --handle NAME or --host NODE")
    client = connect(words)
    if not words.force:
        _refuse_used(client, words.ip)
    released = client.post(f"{ADDRESSES}/release", body)["released"]
    said = [f"block {each}" if words.host else each.partition("/")[0] for each in released]
    print("\n".join(f"{each} released" for each in said) or "nothing to release: free already")
    return 0


def _refuse_used(client: Client, addresses: list[str]) -> None:
    """Raises Refused."""
    for address in addresses:
        found = client.get("/muslin/v1/whois", address=address.partition("/")[0])
        if ("WorkloadEndpoint", "own") in [(each["kind"], each.get("how", "own")) for each in found["holders"]]:
            raise Refused(f"{found['text']}: remove that endpoint, which gives its addresses back; or --force, and"
                          " another may get the same address")


def _configure(arguments: list[str]) -> int:
    parser = Parser("ipam configure", "Settings of address assignment; without options, shows them.",
                    usage="[options]", examples=EXAMPLES)
    parser.add_argument("--strict-affinity", metavar="true|false", help="hosts never borrow from each other's blocks")
    parser.add_argument("--auto-allocate-blocks", metavar="true|false", help="hosts claim blocks as they need them")
    parser.add_argument("--max-blocks-per-host", type=int, metavar="N", help="0 for the usual 20")
    parser.add_argument("--cooldown", type=int, metavar="SECONDS", help="before a released address is used again")
    words = parser.read(arguments)
    changes = {
        "strictAffinity": _flag("--strict-affinity", words.strict_affinity),
        "autoAllocateBlocks": _flag("--auto-allocate-blocks", words.auto_allocate_blocks),
        "maxBlocksPerHost": words.max_blocks_per_host, "ipCooldownSeconds": words.cooldown,
    }
    wanted = {key: value for key, value in changes.items() if value is not None}
    client = connect(words)
    path = f"{ADDRESSES}/configuration"
    settings = client.post(path, wanted) if wanted else client.get(path)
    print("\n".join(screen.columns([[key, screen.cell(value)] for key, value in settings.items()])))
    return 0


def _flag(option: str, text: str | None) -> bool | None:
    if text not in (None, "true", "false"):
        raise Misused(f"{option} {text}: write true or false")
    return None if text is None else text == "true"
