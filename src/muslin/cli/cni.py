"""`muslin cni`: make this host's container runtimes use muslin."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from muslin import paths
from muslin.cli import agents
from muslin.cli.faults import Misused, Refused
from muslin.cli.parsing import Parser, Words

EXAMPLES = """
muslin cni install                        the plugin into /opt/cni/bin, a network `muslin` into /etc/cni/net.d
muslin cni install --name blue --label tenant=blue --namespace blue
muslin cni show                           the network configuration, to be put where you want it
"""
MORE = """\
podman with the CNI backend, containerd, CRI-O and kubelet then call muslin for each container. The agent of this host
must run. Fields of Calico's network configurations are understood: an existing conflist needs only "type": "muslin"."""
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
BINARIES, NETWORKS = "/opt/cni/bin", "/etc/cni/net.d"
CHAINED: dict[str, dict[str, Any]] = {
    "portmap": {"type": "portmap", "capabilities": {"portMappings": True}},
}


def run(arguments: list[str]) -> int:
    parser = Parser("cni", "Make this host's container runtimes use muslin.", usage="install|show [options]",
                    examples=EXAMPLES, more=MORE)
    parser.positional("verb", nargs="?", default="", metavar="install|show")
    parser.add_argument("--name", default="muslin", help="of the network (default: muslin)")
    parser.add_argument("-n", "--namespace", default="", metavar="NAME", help="of containers that are no pods")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="of its containers")
    parser.add_argument("--cni-version", default="1.0.0", metavar="VERSION", help="0.3.1 to 1.1.0 (default: 1.0.0)")
    parser.add_argument("--host", default="", metavar="NAME", help="the agent, where several run on this machine")
    parser.add_argument("--kubeconfig", default="", metavar="FILE", help="where pods' labels are read")
    parser.add_argument("--bin-dir", default=BINARIES, metavar="DIR", help=f"default: {BINARIES}")
    parser.add_argument("--conf-dir", default=NETWORKS, metavar="DIR", help=f"default: {NETWORKS}")
    words = parser.read(arguments)
    if words.verb == "show":
        print(json.dumps(network(words), indent=2))
        return 0
    if words.verb != "install":
        raise Misused("muslin cni install, or muslin cni show\n  see: muslin cni --help")
    return _install(words)


def network(words: Words) -> dict[str, Any]:
    """The network configuration list."""
    from muslin.cli.labelling import pairs

    _check(words)
    ours: dict[str, Any] = {
        "type": "muslin", "agentSocket": str(agents.socket(words.host)), "stateDir": str(paths.state_dir()),
        "ipam": {"type": "muslin"}, "capabilities": {"ips": True, "mac": True, "bandwidth": True,
                                                     "io.kubernetes.cri.pod-annotations": True},
    }
    if words.namespace:
        ours["namespace"] = words.namespace
    if words.label:
        ours["labels"] = pairs(words.label)
    if words.kubeconfig:
        ours["kubernetes"] = {"kubeconfig": str(Path(words.kubeconfig).resolve())}
    chained = [conf for name, conf in CHAINED.items() if _speaks(words.bin_dir, name, words.cni_version)]
    if CHAINED["portmap"] not in chained:
        ours["capabilities"]["portMappings"] = True
    return {"cniVersion": words.cni_version, "name": words.name, "plugins": [ours, *chained]}


def _check(words: Words) -> None:
    """What each ADD would refuse is not written. Raises Misused."""
    from muslin.plugins.cni.call import NETWORK, VERSIONS

    if words.cni_version not in VERSIONS:
        raise Misused(f"--cni-version {words.cni_version}: write one of {', '.join(VERSIONS)}")
    if not NETWORK.fullmatch(words.name):
        raise Misused(f"--name {words.name!r}: write letters, digits, and _ . - between them")
    if words.namespace and not _NAMESPACE.fullmatch(words.namespace):
        raise Misused(f"--namespace {words.namespace!r}: write lower-case letters, digits and '-', such as blue")


def _speaks(directory: str, name: str, version: str) -> bool:
    """Is that plugin there, and of this version? One that is not would fail each time."""
    try:
        done = subprocess.run([Path(directory, name)], input='{"cniVersion": "1.0.0"}', capture_output=True, text=True,
                              check=False, timeout=10, env={**os.environ, "CNI_COMMAND": "VERSION"})
        return version in json.loads(done.stdout)["supportedVersions"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        return False


def _install(words: Words) -> int:
    from muslin.plugins.cni import program

    wanted = network(words)
    conflist, executable = json.dumps(wanted, indent=2) + "\n", program.text()
    try:
        _put(Path(words.bin_dir, "muslin"), executable, 0o755)
        _put(Path(words.conf_dir, f"10-{words.name}.conflist"), conflist, 0o644)
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}: `muslin cni install` needs root") from None
    if not Path(socket := wanted["plugins"][0]["agentSocket"]).exists():
        print(f"note: no agent listens at {socket} yet; if it is to run with another --node, install again then, or"
              " with --host", file=sys.stderr)
    return 0


def _put(path: Path, text: str, mode: int) -> None:
    """Whole or not at all: a runtime may be reading it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.chmod(mode)
    beside.replace(path)
    print(path)
