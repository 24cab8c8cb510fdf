"""The first five minutes of somebody with one machine: `muslin up`, two workloads, a policy, and it holds."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from clirig import MUSLIN, Shell
from netrig import in_ns, namespace, wait_for

pytestmark = pytest.mark.kernel


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Shell]:
    """A machine of its own on which `muslin up` runs."""
    shell = Shell(tmp_path)
    del shell.environment["MUSLIN_SERVER"]
    with namespace("up") as space:
        command = ["ip", "netns", "exec", space, str(MUSLIN), "up", "--node", "h1", "--no-bgp",
                   "--pool", "10.65.0.0/16", "--pool", "fd65::/48"]
        with subprocess.Popen(command, env=shell.environment, stderr=subprocess.PIPE, text=True) as running:
            try:
                wait_for("muslin up", lambda: shell.run("status").code == 0)
                yield shell
            finally:
                running.send_signal(signal.SIGTERM)
                _, said = running.communicate(timeout=20)
        assert running.returncode == 0, said
        assert "Traceback" not in said


def reaches(space: str, address: str) -> bool:
    return " 0% packet loss" in in_ns(space, "ping", "-c", "1", "-W", "1", "-n", address, check=False)


def test_workloads_get_addresses_and_routes_and_policy_and_give_them_back(host: Shell) -> None:
    with namespace("web") as web, namespace("db") as db:
        assert host.did(f"workload add web --netns {web} -l app=web").out.startswith("workload default/web: 10.65.")
        host.did(f"workload add db --netns {db} -l app=db --ip 10.65.7.7 --ip fd65::77")
        v4, v6 = host.did("get wep -l app=db -o 'jsonpath={.items[0].spec.ipNetworks[*]}'").out.split()
        v4, v6 = v4.partition("/")[0], v6.partition("/")[0]

        assert (v4, v6) == ("10.65.7.7", "fd65::77")
        assert reaches(web, v4)
        assert reaches(web, v6)

        host.did("apply -f -", stdin="""\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db}
spec: {selector: app == 'db', ingress: [{action: Allow, protocol: TCP, destination: {ports: [5432]}}]}
""")
        wait_for("the policy in the kernel", lambda: not reaches(web, v4))
        assert not reaches(web, v6)
        assert host.did("why web db icmp").lines[0].startswith("denied")
        assert "<stdin>:4" in host.did("why web db tcp/5432").out

        assert host.did("workload list").lines[1].split()[:3] == ["default", "db", "h1"]
        assert "is held by" in host.run(f"workload add other --netns {web} --ip 10.65.7.7").err
        assert host.did("workload rm web db").code == 0
        assert "no workload default/web" in host.run("workload rm web").err
        assert "free" in host.did("ipam show --ip 10.65.7.7").out
        assert host.did("ipam check").code == 0


def test_a_second_up_on_the_same_machine_says_why_it_cannot(host: Shell) -> None:
    said = host.run("up --node h1 --no-bgp")

    assert said.code == 1
    assert "belongs to a running server" in said.err
