"""The CNI plugin `muslin`: hands a runtime's call to the muslin agent of this host, and its answer back.

It starts anew for every container, so time is spent on nothing but Python's own start (5 ms): no module is imported
that is not built into the interpreter, nothing is parsed, and not even Python's end is waited for. Standard input and
the environment go to the agent as they came; the agent reads them, and its answer goes out as it came:

    COMMAND \\0 CONTAINERID \\0 NETNS \\0 opened NETNS \\0 IFNAME \\0 ARGS \\0 addresses \\0 standard input

The agent also says when it is not the one, or when more must be done here (`ASK_ELSEWHERE`, `ADDRESSES_FIRST`). Then,
and when nobody answers, the careful half takes over: `careful.py`, which stands beside this half in the installed file
as a text (`program.py`), because to compile it costs 3 ms and few calls need it.

The network namespace is opened here, because the caller may live in another mount namespace than the agent.
"""

import _socket
import posix

CAREFUL = globals().get("CAREFUL", "")
"""The other half: `program.py` puts it before this one."""
TEXT, FIRST_STATUS = b"", 0
"""Standard input, and the status of the first answer, for the careful half."""
SOCKETS = b"/run/muslin/agents"
FIRST_FIELD = b'{"agentSocket":"'
"""Runtimes that are built on libcni write the fields in the order of the alphabet, without blanks."""
TIMEOUT = 60.0
DONE, REFUSED, LATE = 200, 400, 408
ASK_ELSEWHERE, ADDRESSES_FIRST = 421, 428
NOTHING_SAID = b""
OPENING = posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK
"""What is named as a namespace may be a pipe, whose opening nobody would ever end."""


def standard_input() -> bytes:
    pieces = []
    while piece := posix.read(0, 65536):
        pieces.append(piece)
    return b"".join(pieces)


def socket_path(text: bytes) -> bytes:
    """Where to ask first: the agent that answers there says whether it is the one. Empty: no idea."""
    if text.startswith(FIRST_FIELD):
        path, _, _ = text[len(FIRST_FIELD):].partition(b'"')
        return b"" if b"\\" in path else path
    try:
        found = [name for name in posix.listdir(SOCKETS) if name.endswith(b".sock")]
    except OSError:
        return b""
    return SOCKETS + b"/" + found[0] if len(found) == 1 else b""


def call_of(text: bytes, opened: bytes = b"", addresses: bytes = NOTHING_SAID) -> bytes:
    said = posix.environ.get
    return b"\0".join((
        said(b"CNI_COMMAND", b""), said(b"CNI_CONTAINERID", b""), said(b"CNI_NETNS", b""), opened,
        said(b"CNI_IFNAME", b""), said(b"CNI_ARGS", b""), addresses, text,
    ))


def ask(path: bytes, text: bytes, addresses: bytes = NOTHING_SAID) -> tuple[int, bytes]:
    """Status and answer of the agent. Raises OSError: nobody answers there."""
    namespace = posix.environ.get(b"CNI_NETNS", b"")
    opened = b""
    if namespace:
        try:
            opened = b"/proc/%d/fd/%d" % (posix.getpid(), posix.open(namespace, OPENING))
        except OSError:
            opened = b""  # the agent says what is wrong with it; a DEL does not need it
    body = call_of(text, opened, addresses)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    connection.connect(path)
    connection.sendall(b"POST /v1/cni HTTP/1.1\r\nHost: muslin\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                       % len(body) + body)
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    connection.close()
    head, _, said = b"".join(pieces).partition(b"\r\n\r\n")
    status, (_, _, length) = head[9:12], head.lower().partition(b"\r\ncontent-length: ")
    if not status.isdigit() or length.partition(b"\r\n")[0] != b"%d" % len(said):
        raise OSError(None, "the answer was cut off")
    return int(status), said


def answer(status: int, text: bytes) -> None:
    """Ends the process; everything that it has is the kernel's to clear away."""
    while text:
        text = text[posix.write(1, text):]
    posix._exit(0 if status == DONE else 1)


def main() -> None:
    text = standard_input()
    try:
        status, said = ask(socket_path(text), text)
    except TimeoutError:
        status, said = LATE, b""
    except OSError:
        status, said = 0, b""
    if status in (DONE, REFUSED):
        answer(status, said)
    exec(compile(CAREFUL, "muslin, the careful half", "exec"), globals() | {"TEXT": text, "FIRST_STATUS": status})


if __name__ == "__main__":
    main()
