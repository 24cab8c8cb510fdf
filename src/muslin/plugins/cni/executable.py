#!/usr/bin/python3 -IS
"""The CNI plugin `muslin`: hands a runtime's call to the muslin agent of this host, and its answer back.

Installed by `muslin cni install` as a file of its own. It starts anew for every container, so it imports next to
nothing (20 ms in all, measured). The agent decides; only what needs the caller's own place in the world is done here:

* the network namespace is opened, because the caller may live in another mount namespace than the agent;
* an address plugin that the configuration names (`ipam.type`) is run, because CNI_PATH is the caller's;
* a DEL that finds no agent is put aside for it and succeeds: else nothing could be removed while it is being upgraded.
"""

from __future__ import annotations

import _socket
import json
import os
import sys

TYPE_CHECKING = False  # the module typing would cost 5 ms of every container's start, pathlib 8
if TYPE_CHECKING:
    from typing import Any

    Object = dict[str, Any]

VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
OURS = ("", "muslin", "muslin-ipam", "calico-ipam")
"""Values of `ipam.type` that mean the address management of muslin."""
SOCKETS = "/run/muslin/agents"
STATE = "/var/lib/muslin"
TIMEOUT = 60.0
UNREADABLE, INVALID_CONFIGURATION, TRY_AGAIN, NOT_AVAILABLE = 6, 7, 11, 50


class Failure(Exception):
    """What goes to the caller as an error, by CNI's own numbers."""

    def __init__(self, code: int, message: str, details: str = "", version: str = "") -> None:
        super().__init__(message)
        self.answer: Object = {"cniVersion": version, "code": code, "msg": message, "details": details}


def main() -> int:
    version = "1.0.0"
    try:
        command = os.environ.get("CNI_COMMAND", "")
        text = sys.stdin.buffer.read()
        if command == "VERSION":
            answer: Object | None = {"cniVersion": _version_of(text), "supportedVersions": VERSIONS}
        else:
            configuration = _decoded(text)
            version = str(configuration.get("cniVersion") or version)
            answer = call(command, configuration)
    except Failure as failure:
        answer = failure.answer
        answer["cniVersion"] = answer["cniVersion"] or version
        print(json.dumps({name: value for name, value in answer.items() if value != ""}))
        return 1
    if answer is not None:
        print(json.dumps(answer))
    return 0


def _version_of(text: bytes) -> str:
    try:
        found = json.loads(text or b"{}").get("cniVersion")
    except (ValueError, AttributeError):
        found = None
    return str(found) if found in VERSIONS else VERSIONS[-1]


def _decoded(text: bytes) -> Object:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Failure(UNREADABLE, "the network configuration on standard input is not JSON", str(error)) from None
    if not isinstance(found, dict):
        raise Failure(UNREADABLE, "the network configuration on standard input is not a JSON object",
                      f"it is {type(found).__name__}")
    return found


def call(command: str, configuration: Object) -> Object | None:
    """The answer of the agent, None for a command that has none."""
    path = _agent(configuration)
    foreign = _address_plugin(configuration)
    if command == "DEL":
        return _delete(configuration, path, foreign)
    addresses = _delegate(foreign, command, configuration) if foreign else None
    try:
        return _ask(path, _message(command, configuration, addresses))
    except (Failure, OSError) as error:
        if foreign and command == "ADD":
            _delegate(foreign, "DEL", configuration)
        raise error if isinstance(error, Failure) else _no_agent(command, path, error) from None


def _delete(configuration: Object, path: str, foreign: str) -> Object | None:
    try:
        answer = _ask(path, _message("DEL", configuration, None))
    except OSError:
        _put_aside(configuration, path)
        answer = None
    if foreign:
        _delegate(foreign, "DEL", configuration)
    return answer


def _no_agent(command: str, path: str, error: OSError) -> Failure:
    code = NOT_AVAILABLE if command == "STATUS" else TRY_AGAIN
    return Failure(code, f"the muslin agent does not answer at {path}: {error.strerror or error}",
                   "start `muslin agent` or `muslin up` on this host; the call may then be repeated")


def _agent(configuration: Object) -> str:
    """The agent's socket: as configured, or the only one there is."""
    given = configuration.get("agentSocket")
    if given is not None and not isinstance(given, str):
        raise Failure(INVALID_CONFIGURATION, f"agentSocket is {json.dumps(given)}, not a path")
    if given:
        return given
    node = configuration.get("nodename")
    if node and isinstance(node, str):
        return f"{SOCKETS}/{node}.sock"
    try:
        found = sorted(name for name in os.listdir(SOCKETS) if name.endswith(".sock"))
    except OSError:
        found = []
    if len(found) > 1:
        raise Failure(INVALID_CONFIGURATION, f"several muslin agents run on this machine: {', '.join(found)}",
                      "write agentSocket: PATH in the network configuration")
    return f"{SOCKETS}/{found[0] if found else 'agent.sock'}"


def _message(command: str, configuration: Object, addresses: Object | None) -> Object:
    return {
        "command": command, "containerID": os.environ.get("CNI_CONTAINERID", ""),
        "netns": os.environ.get("CNI_NETNS", ""), "ifName": os.environ.get("CNI_IFNAME", ""),
        "args": os.environ.get("CNI_ARGS", ""), "config": configuration, "addresses": addresses,
    }


def _ask(path: str, message: Object) -> Object | None:
    """Raises Failure (the agent says no) and OSError (nobody answers)."""
    opened = None
    if message["netns"]:
        try:
            opened = os.open(message["netns"], os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            opened = None  # the agent says what is wrong with it; a DEL does not need it
        else:
            message["openedNetns"] = f"/proc/{os.getpid()}/fd/{opened}"
    body = json.dumps(message).encode()
    head = ("POST /v1/cni HTTP/1.1\r\nHost: muslin\r\nContent-Type: application/json\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n")
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT)
        connection.connect(path)
        connection.sendall(head.encode() + body)
        answer = bytearray()
        while chunk := connection.recv(65536):
            answer += chunk
    finally:
        connection.close()
        if opened is not None:
            os.close(opened)
    return _answer(bytes(answer), path)


def _answer(text: bytes, path: str) -> Object | None:
    head, _, body = text.partition(b"\r\n\r\n")
    try:
        code = int(head.split(b" ", 2)[1])
        found = json.loads(body) if body else None
    except (ValueError, IndexError):
        raise OSError(None, f"{path} does not speak HTTP") from None
    if code == 200:
        return found
    if isinstance(found, dict) and "code" in found and "msg" in found:
        raise Failure(found["code"], found["msg"], found.get("details", ""), found.get("cniVersion", ""))
    raise Failure(TRY_AGAIN, f"the muslin agent at {path} answered {code}", str(found)[:300])


def _put_aside(configuration: Object, path: str) -> None:
    """For the agent's next start: `<state>/cni-pending/<node>/`."""
    node = os.path.basename(path).removesuffix(".sock")
    state = configuration.get("stateDir")
    directory = os.path.join(state if isinstance(state, str) and state else STATE, "cni-pending", node)
    message = _message("DEL", configuration, None)
    name = os.path.join(directory, f"{os.getpid()}-{os.urandom(8).hex()}")
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with open(name + ".new", "w") as file:
            json.dump(message, file)
        os.rename(name + ".new", name + ".json")
    except OSError as error:
        raise Failure(TRY_AGAIN, f"the muslin agent does not answer at {path}, and the removal cannot be put aside"
                      f" for it in {directory}: {error.strerror}") from None


def _address_plugin(configuration: Object) -> str:
    """The name of somebody else's address management, "" for ours."""
    ipam = configuration.get("ipam")
    if ipam is None:
        return ""
    kind = ipam.get("type", "") if isinstance(ipam, dict) else None
    if not isinstance(kind, str) or "/" in kind:
        raise Failure(INVALID_CONFIGURATION, f"ipam is {json.dumps(ipam)[:200]}",
                      'write "ipam": {"type": "muslin"}, or the name of another address plugin')
    return "" if kind in OURS else kind


def _delegate(name: str, command: str, configuration: Object) -> Object | None:
    """What the address plugin answers, as its result. Raises Failure with the plugin's own words."""
    import subprocess

    program = next((path for path in (os.path.join(place, name) for place in os.environ.get("CNI_PATH", "").split(":"))
                    if os.access(path, os.X_OK)), None)
    if program is None:
        raise Failure(INVALID_CONFIGURATION, f"the address plugin {name} is not there",
                      f"looked in CNI_PATH: {os.environ.get('CNI_PATH', '')}")
    done = subprocess.run([program], input=json.dumps(configuration).encode(), capture_output=True, check=False,
                          env={**os.environ, "CNI_COMMAND": command})
    try:
        found = json.loads(done.stdout) if done.stdout.strip() else None
    except ValueError:
        found = None
    if done.returncode == 0:
        return found
    if isinstance(found, dict) and "code" in found:
        raise Failure(found["code"], f"address plugin {name}: {found.get('msg', '')}", found.get("details", ""))
    raise Failure(INVALID_CONFIGURATION, f"address plugin {name} failed with exit code {done.returncode}",
                  done.stderr.decode(errors="replace")[-300:])


if __name__ == "__main__":
    sys.exit(main())
