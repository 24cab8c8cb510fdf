"""`muslin server`, `agent` and `up` as processes: what they refuse before they touch anything, and how they end."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import certificates
from clirig import MUSLIN, Shell
from serverrig import free_port, wait_for


@contextmanager
def daemon(shell: Shell, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Ended by SIGTERM, which must be a good end."""
    with subprocess.Popen([MUSLIN, *words], env=shell.environment, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            _, said = running.communicate(timeout=20)
        assert running.returncode == 0, said
        assert "Traceback" not in said


def test_a_server_answers_on_its_socket_and_on_loopback_and_keeps_what_it_was_told(lonely: Shell) -> None:
    port = free_port()
    words = ("server", "--store", f"sqlite:///{lonely.directory}/x.db", "--listen", f"unix:{lonely.directory}/s.sock",
             "--insecure-listen", f"127.0.0.1:{port}")
    with daemon(lonely, *words):
        wait_for(lambda: lonely.run("get tiers").code == 0)
        lonely.did("create ns shop")
        assert lonely.did(f"get ns shop -o name --server http://127.0.0.1:{port}").out == "namespace/shop\n"
        assert (lonely.directory / "s.sock").stat().st_mode & 0o777 == 0o600
        assert "belongs to a running server" in lonely.run(f"server --store sqlite:///{lonely.directory}/x.db").err
    with daemon(lonely, *words):
        wait_for(lambda: lonely.run("get tiers").code == 0)
        lonely.did("get ns shop")


@pytest.mark.slow
def test_over_the_network_both_ends_show_certificates(lonely: Shell) -> None:
    for name in ("ca", "stranger"):
        certificates.authority(lonely.directory, name)
    for name in ("server", "client"):
        certificates.certificate(lonely.directory, name, "ca")
    port = free_port()
    at = f"--server https://127.0.0.1:{port}"
    files = " --certificate-authority ca.pem --client-certificate client.pem --client-key client.key"
    tls = ("--tls-cert", "server.pem", "--tls-key", "server.key", "--client-ca", "ca.pem")
    tls = tuple(f"{lonely.directory}/{word}" if "." in word else word for word in tls)
    with daemon(lonely, "server", "--store", "memory:", "--listen", f"127.0.0.1:{port}", *tls):
        wait_for(lambda: lonely.run(f"get tiers {at}{files}").code == 0)
        assert lonely.run(f"get tiers {at} --certificate-authority ca.pem").code == 1
        assert "CERTIFICATE_VERIFY_FAILED" in lonely.run(f"get tiers {at}").err
        assert "none.pem" in lonely.run(f"get tiers {at}{files.replace('ca.pem', 'none.pem')}").err
        named = {"MUSLIN_SERVER": f"https://127.0.0.1:{port}", "MUSLIN_CA": "ca.pem",
                 "MUSLIN_CERTIFICATE": "client.pem", "MUSLIN_KEY": "client.key"}
        assert lonely.run("get tiers", **named).code == 0


def test_versions_of_both_ends_are_shown(shell: Shell) -> None:
    said = shell.did("version").lines

    assert len(said) == 2
    assert said[0].removeprefix("muslin ") in said[1]
    assert shell.did("--version").lines == said


@pytest.mark.parametrize(("line", "said"), [
    ("server --listen 0.0.0.0:6443", "needs TLS"),
    ("server --listen 0.0.0.0:6443 --tls-cert a.pem", "all three"),
    ("server --insecure-listen 0.0.0.0:8001", "loopback only"),
    ("server --store foo", "sqlite:///foo"),
    ("server --stoer foo", "did you mean '--store'"),
    ("agent --node h1 --ip hello", "--ip hello"),
    ("agent --node h1 --ip 10.0.0.1", "10.0.0.1/24"),
    ("agent --node h1 --ip 10.0.0.400/24", "spec.bgp.ipv4Address"),
    ("agent --node h1 --as-number many", "spec.bgp.asNumber"),
    ("agent --node X_y", "metadata.name"),
    ("agent --node h1 --label foo", "KEY=VALUE"),
    ("agent --node h1 --server foo", "unix:PATH"),
    ("up --node h1 --pool foo", "--pool"),
    ("up --node h1 --listen 127.0.0.1:1", "needs TLS"),
    ("workload add", "muslin workload add NAME"),
    ("workload add x --netns a --tap b", "--netns NS, or --tap"),
    ("workload add x --netns a", "no agent runs on this machine"),
    ("workload ad x", "did you mean 'add'?"),
    ("lab exce", "did you mean 'exec'?"),
    ("lab test", "no lab is up"),
    ("lab up Big", "lab name"),
    ("ipam shwo", "did you mean 'show'?"),
    ("completion fish", "bash"),
])
def test_what_cannot_work_is_refused_before_anything_is_touched(lonely: Shell, line: str, said: str) -> None:
    found = lonely.run(line)

    assert found.code == 1
    assert said in found.err


def test_status_is_one_screen_and_its_exit_code_says_whether_all_is_well(shell: Shell) -> None:
    assert shell.did("status").lines[-1] == "all is well"
    shell.did("apply -f -", stdin="{apiVersion: projectcalico.org/v3, kind: Node, metadata: {name: h1}}")

    said = shell.run("status")

    assert said.code == 1
    assert "h1: its agent is not connected" in said.out
    assert "muslin agent" in said.out
    assert said.lines[-1] == "not all is well"
    assert shell.run("status -o json").code == 1


def test_the_books_of_the_addresses_can_be_read_and_mended(shell: Shell) -> None:
    shell.did("create ippool p --cidr 10.65.0.0/24")
    assign = ('{"host": "h1", "handle": "a", "addresses": ["10.65.0.7"]}', "/muslin/v1/addresses/assign")
    _post(shell, *assign)

    assert shell.did("ipam show").lines[1].split() == ["p", "10.65.0.0/24", "256", "1", "255"]
    assert "10.65.0.0/26   h1" in shell.did("ipam show --blocks").out
    assert "10.65.0.7 is held by a (node h1" in shell.did("ipam show --ip 10.65.0.7").out
    assert shell.did("ipam show --ip 10.65.0.8").out == "10.65.0.8 is free, in pool p\n"
    assert shell.did("ipam check").code == 0, "an address that was assigned just now may still wait for its endpoint"
    assert shell.did("ipam release --ip 10.65.0.7").out == "10.65.0.7 released\n"
    assert "free already" in shell.did("ipam release --handle a").out
    _post(shell, *assign)
    shell.file("used.yaml", USED)
    shell.did("apply -f used.yaml")
    assert "remove that endpoint" in shell.run("ipam release --ip 10.65.0.7").err
    assert "10.65.0.7 is held by a" in shell.did("ipam show --ip 10.65.0.7").out
    assert shell.did("ipam release --ip 10.65.0.7 --force").out == "10.65.0.7 released\n"
    assert shell.did("ipam release --host h1").out == "block 10.65.0.0/26 released\n"
    assert "true" in shell.did("ipam configure --strict-affinity true").lines[0]
    assert "no host could ever get an address" in shell.run("ipam configure --auto-allocate-blocks false").err


USED = """
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: h1-muslin-web-eth0, namespace: shop}
spec: {node: h1, orchestrator: muslin, workload: web, endpoint: eth0, interfaceName: mus1, ipNetworks: [10.65.0.7/32]}
"""


def _post(shell: Shell, body: str, path: str) -> None:
    import json

    from serverrig import Api

    answer = Api(shell.directory / "s.sock").post(path, json.loads(body))
    assert answer.status == 200, answer.body


def test_why_says_the_line_of_the_file_that_decides(shell: Shell) -> None:
    endpoint = """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{name: h1-muslin-{0}-eth0, labels: {{app: {0}}}}}
spec: {{orchestrator: muslin, workload: {0}, node: h1, endpoint: eth0, interfaceName: mus{0}, ipNetworks: [{1}/32]}}
---
"""
    policy = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: db}
spec:
  selector: app == 'db'
  ingress:
  - action: Allow
    protocol: TCP
    source: {selector: app == 'web'}
    destination: {ports: [5432]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: out}
spec: {selector: all(), types: [Egress], egress: [{action: Allow}]}
"""
    shell.file("all.yaml", endpoint.format("web", "10.65.0.1") + endpoint.format("db", "10.65.0.2") + policy)
    shell.did("apply -f all.yaml")

    allowed, denied = shell.did("why web db tcp/5432"), shell.did("why web db tcp/22 --steps")

    ends = "default/web (10.65.0.1, on h1) -> default/db (10.65.0.2, on h1)"
    assert allowed.lines[0] == f"allowed  {ends}, tcp/5432"
    assert "all.yaml:17" in allowed.out
    assert denied.lines[0].startswith("denied")
    assert "the end of tier default" in denied.out
    assert "the packet has 22" in denied.out
    assert "nearly allowed by NetworkPolicy default/db, ingress rule 0" in shell.did("why web db tcp/22").out
    assert shell.run("why web db tcp/22 --exit-code").code == 1
    assert shell.run("why web db tcp/5432 --exit-code").code == 0
    assert "nosuch" in shell.run("why nosuch db tcp/22").err
