"""A storm through the API: what one change costs the server, alone and a thousand in a call.

The objects are a storm's: policies, sets and endpoints of one host and another, made, changed and removed, over and
over. One host listens to what it is told. All is in the store on disk before a call is answered.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from subprocess import Popen
from typing import Any

from bench import daemons
from bench.figures import Figure, Section
from bench.plan import Plan
from muslin.client import ApiError, Client
from muslin.model.names import workload_endpoint_name

V3 = "/apis/projectcalico.org/v3"
PLURALS = {"GlobalNetworkPolicy": "globalnetworkpolicies", "GlobalNetworkSet": "globalnetworksets",
           "WorkloadEndpoint": "namespaces/default/workloadendpoints"}
CALL, CALLERS = 1000, 2
Object = dict[str, Any]


def _object(kind: str, name: str, spec: Object, labels: dict[str, str] | None = None) -> Object:
    metadata: Object = {"name": name, "labels": labels or {}}
    if kind == "WorkloadEndpoint":
        metadata["namespace"] = "default"
    return {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": metadata, "spec": spec}


def _policy(dice: random.Random) -> Object:
    rule = {"action": dice.choice(("Allow", "Deny")), "protocol": "TCP",
            "source": {"nets": [f"198.51.100.{dice.randrange(64)}/32"]},
            "destination": {"ports": [dice.randrange(1, 64)]}}
    selector = dice.choice(("app == 'db'", "app == 'web'", "all()"))
    return _object("GlobalNetworkPolicy", f"p{dice.randrange(40)}",
                   {"order": dice.randrange(90), "types": ["Ingress"], "ingress": [rule], "selector": selector})


def _set(dice: random.Random) -> Object:
    nets = sorted({f"203.0.113.{dice.randrange(64)}/32" for _ in range(dice.randrange(4))})
    return _object("GlobalNetworkSet", f"s{dice.randrange(30)}", {"nets": nets}, {"role": "friend"})


def _endpoint(dice: random.Random) -> Object:
    number = dice.randrange(400)
    node = "h1" if number < 20 else "h2"
    return _object("WorkloadEndpoint", workload_endpoint_name(node, "muslin", f"w{number}", "eth0"), {
        "node": node, "orchestrator": "muslin", "workload": f"w{number}", "endpoint": "eth0",
        "ipNetworks": [f"10.99.{number >> 8}.{number & 255}/32"], "interfaceName": f"musw{number}"},
        {"app": dice.choice(("db", "web", "x")), "zone": str(dice.randrange(3))})


def _storm() -> Iterator[tuple[str, Object]]:
    """Without end; a quarter of it removes."""
    dice = random.Random(1)
    while True:
        made = dice.choice((_policy, _set, _endpoint, _endpoint))(dice)
        yield "delete" if dice.random() < 0.25 else "put", made


def _alone(client: Client, items: list[tuple[str, Object]]) -> None:
    """As a client does that has not looked what is there."""
    for verb, made in items:
        path = f"{V3}/{PLURALS[made['kind']]}"
        one = f"{path}/{made['metadata']['name']}"
        if verb == "delete":
            _unless(404, client.delete, one)
        elif not _unless(404, client.put, one, made):
            _unless(409, client.post, path, made)


def _unless(code: int, call: Callable[..., object], *words: object) -> bool:
    """False: it was refused so, as it may be where two change the same."""
    try:
        call(*words)
    except ApiError as error:
        if error.code != code:
            raise
        return False
    return True


def _together(client: Client, items: list[tuple[str, Object]]) -> None:
    answer = client.post("/muslin/v1/changes", {"items": [{verb: made} for verb, made in items]})
    wrong = [one for one in answer["items"] if "status" in one]
    if wrong:
        raise SystemExit(f"the server refused {len(wrong)} changes: {wrong[0]['status']['message']}")


def _run(site: daemons.Site, server: Popen[bytes], calls: list[list[tuple[str, Object]]],
         send: Callable[[Client, list[tuple[str, Object]]], None]) -> tuple[float, float]:
    """Milliseconds of the server's processor, and of the clock, for each change."""
    left, count = iter(calls), sum(map(len, calls))

    def one_after_another() -> None:
        client = site.client()
        for items in left:
            send(client, items)

    spent, began = daemons.spent([server]), time.monotonic()
    with ThreadPoolExecutor(CALLERS) as callers:
        for caller in [callers.submit(one_after_another) for _ in range(CALLERS)]:
            caller.result()
    return (daemons.spent([server]) - spent) / count, (time.monotonic() - began) * 1000 / count


def _listen(site: daemons.Site) -> Client:
    client = site.client()

    def take() -> None:
        for _ in client.lines("/muslin/v1/hosts/h1/feed"):
            pass

    threading.Thread(target=take, daemon=True).start()
    return client


def measure(plan: Plan) -> list[Section]:
    rounds, few, many = plan.times(1, 3, 5), plan.times(20, 1000, 2000), plan.times(40, 10_000, 20_000)
    plan.progress.begin("bulk", rounds)
    storm = _storm()
    found: dict[str, list[tuple[float, float]]] = {"a call for each": [], "a thousand in a call": []}
    with daemons.site() as site:
        server = site.serve()
        _listen(site)
        for _ in range(rounds):
            plan.progress.step("a call for each, and a thousand in one")
            halves = [list(islice(storm, few // CALLERS)) for _ in range(CALLERS)]
            found["a call for each"].append(_run(site, server, halves, _alone))
            calls = [list(islice(storm, min(CALL, many))) for _ in range(max(1, many // CALL))]
            found["a thousand in a call"].append(_run(site, server, calls, _together))
    aims = {"a thousand in a call": 0.1}
    return [
        Section(key="bulk.processor", title="A change of some object through the API", base="a call for each",
                measure="processor time of the server",
                figures=tuple(Figure(name=name, values=tuple(one for one, _ in each), unit="ms", aim=aims.get(name))
                              for name, each in found.items())),
        Section(key="bulk.clock", title="The same, of two clients at once", measure="wall time for each change",
                base="a call for each",
                figures=tuple(Figure(name=name, values=tuple(one for _, one in each), unit="ms")
                              for name, each in found.items())),
    ]
