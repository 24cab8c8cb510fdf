"""BIRD's control protocol, as BIRD 2.0.12 speaks it: lines recorded from a real one, cut anywhere on their way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from muslin.drivers.bird import sessions
from muslin.drivers.bird_control import Answer, ask
from muslin.errors import Transient

GREETING = "0001 BIRD 2.0.12 ready.\n"

PROTOCOLS = """\
2002-Name       Proto      Table      State  Since         Info
1002-links      Direct     ---        up     23:07:43.117  \n\
1006-  Channel ipv4
     State:          UP
     Routes:         1 imported, 0 exported, 1 preferred
 \n\
1002-Mesh_10_0_0_1 BGP        ---        up     23:07:43.923  Established   \n\
1006-  Description:    node-to-node mesh, h1
   BGP state:          Established
     Neighbor address: 10.0.0.1
     Neighbor AS:      64512
     Local AS:         64513
     Hold timer:       204.941/240
   Channel ipv4
     State:          UP
     Routes:         2 imported, 1 filtered, 5 exported, 2 preferred
     Route change stats:     received   rejected   filtered    ignored   accepted
 \n\
1002-Mesh_fd00__1 BGP        ---        start  2026-11-21    Active        Socket: Connection refused
1006-  BGP state:          Active
     Neighbor address: fd00::1
     Neighbor AS:      4200000001
     Last error:       Socket: Connection refused
   Channel ipv6
     State:          DOWN
 \n\
0000 \n"""


async def answered(said: str, command: str, directory: Path, *, chunk: int) -> tuple[Answer, str]:
    """What `ask` makes of a BIRD that says this, in pieces of `chunk` bytes; and what BIRD heard."""
    heard = ""

    async def bird(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        writer.write(GREETING.encode())
        heard = (await reader.readline()).decode()
        for begin in range(0, len(said), chunk):
            writer.write(said[begin : begin + chunk].encode())
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    path = directory / "b.ctl"
    server = await asyncio.start_unix_server(bird, str(path))
    async with server:
        return await ask(path, command), heard


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_sessions_are_read_from_what_bird_says_however_it_arrives(chunk: int, tmp_path: Path) -> None:
    answer, heard = asyncio.run(answered(PROTOCOLS, "show protocols all", tmp_path, chunk=chunk))
    up, down = sessions(answer.lines)

    assert heard == "show protocols all\n"
    assert answer.version == "2.0.12"
    assert (up.name, up.peer, up.peer_as, up.state, up.since) == (
        "Mesh_10_0_0_1", "10.0.0.1", 64512, "Established", "23:07:43.923")
    assert (up.imported, up.exported, up.info) == (2, 5, "")
    assert (down.peer, down.peer_as, down.state, down.since) == ("fd00::1", 4200000001, "Active", "2026-11-21")
    assert down.info == "Socket: Connection refused"


def test_a_refusal_is_birds_own_sentence(tmp_path: Path) -> None:
    said = "0002-Reading configuration from /run/x/bird.conf\n8002 /run/x/bird.conf:3:1 syntax error, unexpected X\n"
    answer, _ = asyncio.run(answered(said, "configure", tmp_path, chunk=64))

    assert answer.refusal == "/run/x/bird.conf:3:1 syntax error, unexpected X"


def test_an_answer_that_is_none_is_a_passing_fault(tmp_path: Path) -> None:
    """Nobody there, or gone in mid-sentence: the caller may try again."""
    with pytest.raises(Transient):
        asyncio.run(ask(tmp_path / "nobody", "show status"))
    with pytest.raises(Transient):
        asyncio.run(answered("1000-BIRD 2.0.12\n1011-Router ID is 1.1", "show status", tmp_path, chunk=64))
