"""The careful half of the CNI plugin: reads the network configuration, and does what is done on the caller's side.

* Which agent is meant, where the first guess was none.
* An address plugin that the configuration names (`ipam.type`) is run, because CNI_PATH is the caller's.
* A DEL that finds no agent is put aside for it and succeeds: else nothing could be removed while it is being upgraded.
* No agent, no JSON: an error in the words of CNI.

It runs inside the executable, with its names, with `TEXT` (standard input) and `FIRST_STATUS` (of the first try).
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False  # the module typing would cost 5 ms
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from muslin.plugins.cni.executable import (
        DONE,
        FIRST_STATUS,
        LATE,
        REFUSED,
        SOCKETS,
        TEXT,
        TIMEOUT,
        answer,
        ask,
        call_of,
    )

    Object = dict[str, Any]

VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
OURS = ("", "muslin", "muslin-ipam", "calico-ipam")
"""Values of `ipam.type` that mean the address management of muslin."""
NEVER = ("dhcp",)
"""Those that cannot work: the agent says why."""
STATE = "/var/lib/muslin"
COMPARING = ("static",)
"""Those that keep nothing, and compare the result with their configuration. It says another gateway than ours, and
subnets where we give a container its address alone; that the address is there, the agent sees by itself."""
NONE_NEEDED, NONE_GIVEN = b"null", b"{}"
TOO_LARGE = 413
UNREADABLE, INVALID_CONFIGURATION, TRY_AGAIN, NOT_AVAILABLE = 6, 7, 11, 50


class Failure(Exception):
    """What goes to the caller as an error, by CNI's own numbers."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.answer: Object = {"code": code, "msg": message, "details": details}


class Said(Exception):
    """What the agent answered, as it goes to the caller."""

    def __init__(self, status: int, text: bytes) -> None:
        super().__init__()
        self.status = status
        self.text = text


def conclude() -> NoReturn:
    command, version = os.environ.get("CNI_COMMAND", ""), "1.0.0"
    try:
        if command == "VERSION":
            raise Said(DONE, json.dumps({"cniVersion": _version(), "supportedVersions": VERSIONS}).encode())
        configuration = _configuration()
        version = str(configuration.get("cniVersion") or version)
        raise call(command, configuration)
    except Said as said:
        answer(said.status, said.text)
    except Failure as failure:
        words = {"cniVersion": version, **{name: value for name, value in failure.answer.items() if value != ""}}
        answer(REFUSED, json.dumps(words).encode())
    raise SystemExit(1)


def _version() -> str:
    try:
        found = json.loads(TEXT or b"{}").get("cniVersion")
    except (ValueError, AttributeError, RecursionError):
        found = None
    return str(found) if found in VERSIONS else VERSIONS[-1]


def _configuration() -> Object:
    try:
        found = json.loads(TEXT)
    except (ValueError, RecursionError) as error:
        raise Failure(UNREADABLE, "the network configuration on standard input is not JSON", str(error)) from None
    if not isinstance(found, dict):
        raise Failure(UNREADABLE, "the network configuration on standard input is not a JSON object",
                      f"it is {json.dumps(found)[:60]}")
    return found


def call(command: str, configuration: Object) -> Said:
    """Raises Failure."""
    path = agent_socket(configuration)
    if command == "DEL":
        return _delete(configuration, path)
    foreign = address_plugin(configuration)
    addresses = _addresses(foreign, command)
    try:
        said = _ask(path, addresses)
    except Failure:
        if foreign and command == "ADD":
            _delegate(foreign, "DEL")
        raise
    if said.status == REFUSED and foreign and command == "ADD":
        _delegate(foreign, "DEL")
    return said


def _addresses(foreign: str, command: str) -> bytes:
    """What the agent is told of them. Raises Failure."""
    if not foreign or (command == "CHECK" and foreign in COMPARING):
        return NONE_NEEDED
    given = _delegate(foreign, command)
    if command != "ADD":
        return given or NONE_NEEDED
    return NONE_GIVEN if given in (b"", NONE_NEEDED) else given  # never ours instead of theirs


def _delete(configuration: Object, path: str) -> Said:
    try:
        foreign = address_plugin(configuration)
    except Failure:
        foreign = ""  # nothing can have been added with that
    try:
        said = _ask(path, NONE_NEEDED)
    except NoAgent:
        _put_aside(configuration, path)
        said = Said(DONE, b"")
    if foreign:
        _delegate(foreign, "DEL")
    return said


class NoAgent(Failure):
    """Nobody answers at the agent's socket."""


def _ask(path: str, addresses: bytes) -> Said:
    try:
        if FIRST_STATUS == LATE:  # once is enough: the runtime waits
            raise OSError(None, f"not within {TIMEOUT:.0f} s")
        status, text = ask(path.encode(), TEXT, addresses)
    except OSError as error:
        code = NOT_AVAILABLE if os.environ.get("CNI_COMMAND") == "STATUS" else TRY_AGAIN
        raise NoAgent(code, f"the muslin agent does not answer at {path}: {error.strerror or error}",
                      "start `muslin agent` or `muslin up` on this host; the call may then be repeated") from None
    if status in (DONE, REFUSED):
        return Said(status, text)
    if status == TOO_LARGE:
        raise Failure(INVALID_CONFIGURATION, f"the network configuration is {len(TEXT)} bytes long",
                      "the muslin agent reads 16 MiB")
    raise Failure(TRY_AGAIN, f"the muslin agent at {path} answered {status or 'no HTTP'}",
                  text[:300].decode(errors="replace"))


def agent_socket(configuration: Object) -> str:
    """As configured, or the only one there is."""
    given = configuration.get("agentSocket")
    if given is not None and not isinstance(given, str):
        raise Failure(INVALID_CONFIGURATION, f"agentSocket is {json.dumps(given)}, not a path")
    if given:
        return given
    places, node = SOCKETS.decode(), configuration.get("nodename")
    if node and isinstance(node, str):
        return f"{places}/{node}.sock"
    try:
        found = sorted(name for name in os.listdir(places) if name.endswith(".sock"))
    except OSError:
        found = []
    if len(found) > 1:
        raise Failure(INVALID_CONFIGURATION, f"several muslin agents run on this machine: {', '.join(found)}",
                      "write agentSocket: PATH in the network configuration")
    return f"{places}/{found[0] if found else 'agent.sock'}"


def _put_aside(configuration: Object, path: str) -> None:
    """For the agent's next start: `<state>/cni-pending/<node>/`."""
    node = os.path.basename(path).removesuffix(".sock")
    state = configuration.get("stateDir")
    directory = os.path.join(state if isinstance(state, str) and state else STATE, "cni-pending", node)
    name = os.path.join(directory, f"{os.getpid()}-{os.urandom(8).hex()}")
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with open(name + ".new", "wb") as file:
            file.write(call_of(TEXT))
        os.rename(name + ".new", name + ".call")
    except OSError as error:
        raise Failure(TRY_AGAIN, f"the muslin agent does not answer at {path}, and the removal cannot be put aside"
                      f" for it in {directory}: {error.strerror}") from None


def address_plugin(configuration: Object) -> str:
    """The name of somebody else's address management, "" for ours."""
    ipam = configuration.get("ipam")
    if ipam is None:
        return ""
    kind = ipam.get("type", "") if isinstance(ipam, dict) else None
    if not isinstance(kind, str) or "/" in kind:
        raise Failure(INVALID_CONFIGURATION, f"ipam is {json.dumps(ipam)[:200]}",
                      'write "ipam": {"type": "muslin"}, or the name of another address plugin')
    return "" if kind in OURS or kind in NEVER else kind


def _delegate(name: str, command: str) -> bytes:
    """What the address plugin answers. Raises Failure with the plugin's own words."""
    import subprocess

    program = next((path for path in (os.path.join(place, name) for place in os.environ.get("CNI_PATH", "").split(":"))
                    if os.access(path, os.X_OK)), None)
    if program is None:
        raise Failure(INVALID_CONFIGURATION, f"the address plugin {name} is not there",
                      f"looked in CNI_PATH: {os.environ.get('CNI_PATH', '')}")
    done = subprocess.run([program], input=TEXT, capture_output=True, check=False,
                          env={**os.environ, "CNI_COMMAND": command})
    if done.returncode == 0:
        return done.stdout.strip()
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = None
    if isinstance(found, dict) and "code" in found:
        raise Failure(found["code"], f"address plugin {name}: {found.get('msg', '')}", found.get("details", ""))
    raise Failure(INVALID_CONFIGURATION, f"address plugin {name} failed with exit code {done.returncode}",
                  done.stderr.decode(errors="replace")[-300:])


if __name__ != "muslin.plugins.cni.careful":
    conclude()
