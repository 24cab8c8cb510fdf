"""Forty workloads on four hosts: what `muslin matrix` computes of every pair is what real packets find."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from clirig import MUSLIN
from muslin.lab.lab import Lab, Wanted
from muslin.lab.topology import Topology

pytestmark = [pytest.mark.lab, pytest.mark.slow]

ROLES = ("web", "api", "db", "cache", "batch")
POLICIES = """
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: v4}
spec: {cidr: 10.66.0.0/16}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: v6}
spec: {cidr: fd66::/112}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: first}
spec: {order: 10, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: first.frozen}
spec:
  tier: first
  selector: frozen == 'yes'
  types: [Ingress, Egress]
  ingress: [{action: Deny, protocol: TCP}]
  egress: [{action: Deny, protocol: UDP}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: api, namespace: left}
spec:
  selector: role == 'api'
  ingress:
  - {action: Allow, protocol: TCP, source: {selector: role == 'web'}, destination: {ports: [http]}}
  - {action: Allow, protocol: ICMP}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: left}
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from: [{podSelector: {matchLabels: {role: api}}}, {namespaceSelector: {matchLabels: {side: right}}}]
    ports: [{port: 80}, {port: 53, protocol: UDP}]
  egress:
  - to: [{podSelector: {matchLabels: {role: cache}}}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: right, namespace: right}
spec:
  selector: role in {'db', 'cache'}
  types: [Ingress]
  ingress:
  - {action: Deny, source: {namespaceSelector: side == 'left', selector: role != 'batch'}}
  - {action: Allow, ipVersion: 4, protocol: TCP, destination: {ports: ['79:81']}}
  - {action: Allow, protocol: UDP}
"""


def people() -> list[Wanted]:
    """Ten to a host, so that pairs of one host, one rack and two racks are all there."""
    made = []
    hosts = [host.name for host in Topology(name="forty").hosts]
    for number in range(40):
        role, space = ROLES[number % 5], ("left", "right")[number // 20]
        labels = {"role": role, **({"frozen": "yes"} if number % 13 == 0 else {})}
        made.append(Wanted(name=f"{role}{number}", host=hosts[number % 4], namespace=space, labels=labels, tcp=(80,),
                           udp=(53,), ports=({"name": "http", "protocol": "TCP", "port": 80},)))
    return made


def test_every_cell_of_forty_workloads_is_as_packets_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """1,560 pairs, both families, three protocols: 9,360 verdicts. Computed from files alone they are the same."""
    if os.geteuid():
        pytest.skip("labs need root")
    monkeypatch.setenv("MUSLIN_STATE", str(tmp_path))

    async def whole() -> None:
        async with Lab.temporary(Topology(name="forty")) as lab:
            policies = tmp_path / "policies.yaml"
            policies.write_text(POLICIES)
            await lab.apply(policies)
            await lab.add(*people())
            await lab.muslin("label", "ns", "left", "side=left")
            await lab.muslin("label", "ns", "right", "side=right")
            await lab.wait_sessions()
            await lab.wait_routes()

            services = ("--ports", "tcp/80,udp/53,icmp")
            probed = await asyncio.to_thread(
                subprocess.run, [MUSLIN, "matrix", "--probe", "forty", *services], capture_output=True, text=True,
                check=False)
            assert "9360 of 9360 verdicts agree" in probed.stdout, probed.stdout[-2000:] + probed.stderr
            assert probed.returncode == 0

            online = json.loads(await lab.muslin("matrix", "-o", "json", *services))
            allowed = {cell["verdict"] for cell in online["cells"]}
            assert (len(online["cells"]), allowed) == (9360, {"Allow", "Deny"})
            dump = tmp_path / "cluster.yaml"
            dump.write_text(await lab.muslin("get", "tier,gnp,np,ns,wep,nodes,ippools", "-A", "-o", "yaml"))
            offline = json.loads(await lab.muslin("matrix", "-o", "json", *services, "--offline", "-f", str(dump)))
            assert {key(cell): cell["verdict"] for cell in offline["cells"]} == {
                key(cell): cell["verdict"] for cell in online["cells"]}

    def key(cell: dict[str, object]) -> tuple[object, ...]:
        return tuple(cell[part] for part in ("source", "destination", "family", "protocol", "port"))

    asyncio.run(asyncio.wait_for(whole(), 300))
