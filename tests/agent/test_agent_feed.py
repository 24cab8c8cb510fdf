"""The stream of intent over real sockets: whole, in pieces, broken off, from the next server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from muslin.agent import feed
from muslin.agent.upstream import Upstream
from muslin.client.address import Identity
from muslin.client.refusal import ApiError, Unreachable
from muslin.intent import AddressSet, Delta, SetId
from muslin.net import Cidr

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(path: Path, handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield f"unix:{path}"
    finally:
        await runner.cleanup()


class Heard:
    """Receiver and keeper at once."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.kept: list[tuple[bytes, bool]] = []
        """Pieces, and whether they begin with a whole."""
        self.servers: list[str] = []
        self.lost: list[str] = []
        self._news = asyncio.Event()

    def append(self, lines: bytes, *, anew: bool) -> None:
        assert self.kept_deltas == self.deltas, "what was kept before has been received"
        self.kept.append((lines, anew))

    @property
    def kept_deltas(self) -> list[Delta]:
        return msgspec.json.Decoder(Delta).decode_lines(b"".join(lines for lines, _ in self.kept))

    def receive(self, delta: Delta) -> None:
        self.deltas.append(delta)
        assert self.kept_deltas[: len(self.deltas)] == self.deltas, "received before it was kept"
        self._news.set()

    def connected(self, server: str) -> None:
        self.servers.append(server)

    def disconnected(self, why: str) -> None:
        self.lost.append(why)

    async def wait(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.deltas) < number:
                self._news.clear()
                await self._news.wait()


def telling(*deltas: Delta, pieces: int = 1 << 20, forever: bool = True) -> Handler:
    async def tell(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        text = b"\n".join(b"\n" + msgspec.json.encode(delta) for delta in deltas) + b"\n"
        for start in range(0, len(text), pieces):
            await response.write(text[start : start + pieces])
        if forever:
            await asyncio.Event().wait()
        return response

    return tell


async def follow(servers: list[str], number: int) -> Heard:
    heard, upstream = Heard(), Upstream(servers, Identity())
    task = asyncio.create_task(feed.follow(upstream, "h1", heard, heard))
    try:
        await heard.wait(number)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await upstream.close()
    return heard


SNAPSHOT = Delta(snapshot=True, revision=7)
CHANGE = Delta(revision=8)


@pytest.mark.parametrize("pieces", [1, 3, 1 << 20])
def test_lines_arrive_whole_however_they_were_cut(tmp_path: Path, pieces: int) -> None:
    async def scene() -> None:
        async with serving(tmp_path / "s", telling(SNAPSHOT, CHANGE, pieces=pieces)) as server:
            heard = await follow([server], 2)
        assert [(delta.snapshot, delta.revision) for delta in heard.deltas] == [(True, 7), (False, 8)]
        assert heard.servers == [server]
        assert all(lines.endswith(b"\n") for lines, _ in heard.kept)
        assert [anew for _, anew in heard.kept] in ([True], [True, False])

    asyncio.run(scene())


def test_a_snapshot_of_many_megabytes_is_one_line(tmp_path: Path) -> None:
    members = frozenset(Cidr(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}/32") for i in range(200_000))
    large = Delta(snapshot=True, sets={SetId("a" * 16): AddressSet(id=SetId("a" * 16), members=members)})

    async def scene() -> None:
        async with serving(tmp_path / "s", telling(large)) as server:
            heard = await follow([server], 1)
        assert heard.deltas[0] == large

    asyncio.run(scene())


def test_the_next_server_is_asked_when_one_ends_or_does_not_answer(tmp_path: Path) -> None:
    async def scene() -> None:
        ending = telling(SNAPSHOT, forever=False)
        async with serving(tmp_path / "a", ending) as first, serving(tmp_path / "b", telling(SNAPSHOT)) as second:
            heard = await follow([f"unix:{tmp_path}/nobody", first, second], 2)
        assert heard.servers == [first, second]
        assert len(heard.lost) == 2
        assert f"nobody answers at unix:{tmp_path}/nobody (No such file or directory): is" in heard.lost[0]

    asyncio.run(scene())


def test_garbage_and_refusals_are_survived(tmp_path: Path) -> None:
    """A server of another version, or one that does not know this host yet."""
    answers = iter([
        lambda: web.json_response({"kind": "Status", "message": "who are you?", "code": 403}, status=403),
        lambda: web.Response(body=b'{"revision": "no number"}\n'),
    ])

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = next(answers, None)
        return answer() if answer else await telling(SNAPSHOT)(request)

    async def scene() -> None:
        async with serving(tmp_path / "s", handler) as server:
            heard = await follow([server], 1)
        assert heard.lost[0] == "who are you?"
        assert len(heard.lost) == 2

    asyncio.run(scene())


def test_a_refusal_carries_the_servers_words_and_an_absent_server_its_address(tmp_path: Path) -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "reason": "NotFound", "message": "no such node"}, status=404)

    async def scene() -> None:
        async with serving(tmp_path / "s", handler) as server:
            upstream = Upstream([server], Identity())
            with pytest.raises(ApiError, match="no such node") as refused:
                await upstream.call("GET", "/x")
            assert (refused.value.code, refused.value.reason) == (404, "NotFound")
            await upstream.close()
        upstream = Upstream([server], Identity())
        with pytest.raises(Unreachable, match="nobody answers at unix:"):
            await upstream.call("GET", "/x")
        await upstream.close()

    asyncio.run(scene())
