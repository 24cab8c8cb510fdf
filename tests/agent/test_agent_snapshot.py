"""What an agent finds on disk is what the feed said last, whatever became of the file and whenever its writer died."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from calcworlds import HISTORIES, Choices, hosts_story
from muslin.agent import snapshot as snapshot_room
from muslin.agent.snapshot import Snapshot
from muslin.calc.host import Graph
from muslin.intent import AddressSet, Delta, Endpoint, EndpointKey, GroupId, HostIntent, MemberChange, SetId
from muslin.net import Cidr
from muslin.server.frames import Frames

THERE = {"eth0": frozenset({"10.65.0.1"}), "eth1": frozenset({"172.16.0.1"})}
BIG = SetId("b" * 16)


def at(directory: Path) -> Snapshot:
    return Snapshot(directory / "state", directory / "behind")


def file_in(directory: Path) -> Path:
    return directory / "state" / "snapshot.json"


def lines_of(*deltas: Delta) -> bytes:
    return b"".join(Frames().line(delta) for delta in deltas)


def keep(kept: Snapshot, *deltas: Delta) -> None:
    kept.append(lines_of(*deltas), anew=deltas[0].snapshot)


def after(*deltas: Delta | None) -> HostIntent | None:
    """The intent of an agent that was told this."""
    if not deltas or None in deltas:
        return None
    graph = Graph()
    graph.update_interfaces(THERE)
    for delta in deltas:
        assert delta is not None
        graph.update(delta)
    graph.flush()
    return graph.intent


def found(directory: Path) -> HostIntent | None:
    """The intent of one who starts alone."""
    return after(at(directory).load())


def workload(name: str) -> Delta:
    key = EndpointKey(f"WorkloadEndpoint/default/{name}")
    return Delta(endpoints={key: Endpoint(key=key, interface=f"mus{name}", ingress=GroupId("1" * 16),
                                          egress=GroupId("2" * 16), addresses=(Cidr("10.65.0.1/32"),))})


def whole(members: int = 0) -> Delta:
    addresses = frozenset(Cidr(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}/32") for n in range(members))
    return Delta(snapshot=True, revision=1, sets={BIG: AddressSet(id=BIG, members=addresses)})


def joins(number: int) -> Delta:
    address = Cidr(f"11.0.{number >> 8}.{number & 255}/32")
    return Delta(revision=number, sets={BIG: MemberChange(added=frozenset({address}))})


# ---- what is read


@given(history=HISTORIES, again=HISTORIES, data=st.data())
@settings(max_examples=60)
def test_at_every_byte_what_is_read_is_what_was_said_to_the_last_whole_line(
    history: list[Choices], again: list[Choices], data: st.DataObject
) -> None:
    """Two connections, each of which begins with a whole. `Kills` are among the mutants."""
    deltas = [*hosts_story(history), *hosts_story(again)]
    ends = [*accumulate(len(lines_of(delta)) for delta in deltas)]
    with TemporaryDirectory() as made:
        directory = Path(made)
        kept = at(directory)
        rest = deltas
        while rest:
            piece, rest = rest[: (n := data.draw(st.integers(1, 4)))], rest[n:]
            keep(kept, *piece)
        text = file_in(directory).read_bytes()
        assert len(text) == ends[-1]
        near = st.sampled_from(ends).flatmap(lambda end: st.integers(end - 2, end + 1))
        for cut in data.draw(st.lists(near | st.integers(0, len(text)), min_size=1, max_size=6)):
            file_in(directory).write_bytes(text[:cut])
            told = [delta for delta, end in zip(deltas, ends, strict=True) if end - 1 <= cut]
            assert found(directory) == after(*told), cut
            next_life = at(directory)
            assert found(directory) == after(*told)
            keep(next_life, deltas[0], *told[-1:])
            assert found(directory) == after(deltas[0], *told[-1:])


@given(history=HISTORIES)
@settings(max_examples=60)
def test_what_was_given_is_the_whole_of_what_was_said(history: list[Choices]) -> None:
    deltas, graph = hosts_story(history), Graph()
    for number, delta in enumerate(deltas):
        graph.update(delta)
        if number % 2:
            graph.flush()
    assert after(graph.given) == after(*deltas)


def test_a_file_of_the_former_version_is_read_and_gone_on_with(tmp_path: Path) -> None:
    """One whole without an end of line: an intent as it was done, with its routes."""
    graph = Graph()
    graph.update(whole(3))
    graph.update(workload("one"))
    graph.flush()
    done = graph.intent
    former = Delta(snapshot=True, revision=7, sets=dict(done.sets), groups=dict(done.groups),
                   endpoints=dict(done.endpoints), routes=dict(done.routes), bgp=done.bgp, settings=done.settings)
    file_in(tmp_path).parent.mkdir()
    file_in(tmp_path).write_bytes(msgspec.json.encode(former))
    assert found(tmp_path) == after(former)
    assert after(former).endpoints  # type: ignore[union-attr]

    keep(at(tmp_path), whole(), workload("other"))

    assert found(tmp_path) == after(whole(), workload("other"))
    length = len(lines_of(whole(), workload("other")))
    file_in(tmp_path).write_bytes(file_in(tmp_path).read_bytes()[:-length])
    assert found(tmp_path) == after(former), "killed before the first line was written"


def test_of_a_file_that_is_illegible_in_the_middle_nothing_counts_until_the_next_whole(tmp_path: Path) -> None:
    """What cannot be read may have closed what was open before."""
    kept = at(tmp_path)
    keep(kept, whole(3), joins(1), workload("one"))
    text = file_in(tmp_path).read_bytes()
    for spoilt in (text.replace(b"11.0.0.1", b"11.0.\xff.1"), text.replace(b'"added":[', b'"added":', 1),
                   text.replace(b'"11.0.0.1/32"', b"\0\0\0\0"), b"7\n" + text[9:]):
        assert spoilt != text
        file_in(tmp_path).write_bytes(spoilt)
        with capture_logs() as logs:
            assert at(tmp_path).load() is None
        assert [each["event"] for each in logs] == ["snapshot_not_used"]
    keep(at(tmp_path), whole(1), joins(2))
    assert found(tmp_path) == after(whole(1), joins(2))


@pytest.mark.parametrize("tail", [b"\0" * 4096, b'{"revision":9,"sets":{"', b"\xff", b"7"])
def test_an_end_that_is_cut_short_was_told_to_nobody(tmp_path: Path, tail: bytes) -> None:
    """As a kill in the middle of a write, or a power cut, leave it. A successor that is killed too spoils nothing."""
    keep(at(tmp_path), whole(3), joins(1))
    with file_in(tmp_path).open("ab") as file:
        file.write(tail)
    assert found(tmp_path) == after(whole(3), joins(1))
    keep(at(tmp_path), whole())
    text = file_in(tmp_path).read_bytes()
    file_in(tmp_path).write_bytes(text[:-10])
    assert found(tmp_path) == after(whole(3), joins(1))


def test_no_snapshot_or_a_foreign_one_is_none_at_all(tmp_path: Path) -> None:
    assert at(tmp_path).load() is None
    file_in(tmp_path).parent.mkdir()
    file_in(tmp_path).write_text('{"revision": "of another age"}')
    assert at(tmp_path).load() is None
    file_in(tmp_path).unlink()
    file_in(tmp_path).mkdir()
    assert at(tmp_path).load() is None


# ---- written anew


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_room, "_AT_MOST_EVERY", 0.0)
    monkeypatch.setattr(snapshot_room, "_AGAIN", 0.0)


class Agent:
    """As much of one as its snapshot sees. The disk waits while it is held."""

    def __init__(self, directory: Path, most_threads: int = 4) -> None:
        self.directory = directory
        self.kept, self.graph = at(directory), Graph()
        self._threads = ThreadPoolExecutor(most_threads)
        self._go = threading.Event()
        self._go.set()

    def hear(self, *deltas: Delta) -> None:
        keep(self.kept, *deltas)
        for delta in deltas:
            self.graph.update(delta)

    def hold_disk(self) -> None:
        self._go = threading.Event()
        asyncio.get_running_loop().run_in_executor(None, self._go.wait, 10)

    def let_disk_go(self) -> None:
        self._go.set()

    def knows_what_it_was_told(self) -> bool:
        return found(self.directory) == after(self.graph.given)

    def play(self, scene: Callable[[], Awaitable[None]]) -> None:
        async def all_of_it() -> None:
            asyncio.get_running_loop().set_default_executor(self._threads)
            running = asyncio.create_task(self.kept.run(lambda: self.graph.given))
            try:
                async with asyncio.timeout(20):
                    await scene()
            finally:
                self.let_disk_go()
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        asyncio.run(all_of_it())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


class Watched:
    """How often the file was replaced since, and how long it was at most."""

    def __init__(self, directory: Path) -> None:
        self._path = file_in(directory)
        self._file = self._path.open()
        self._replaced = self.longest = 0

    def replaced(self) -> int:
        self.longest = max(self.longest, self._path.stat().st_size)
        if not os.fstat(self._file.fileno()).st_nlink:
            self._file.close()
            self._file = self._path.open()
            self._replaced += 1
        return self._replaced


@given(history=HISTORIES, pauses=st.lists(st.integers(0, 3), min_size=1))
@settings(max_examples=30)
def test_at_every_moment_what_is_on_disk_is_what_was_said(history: list[Choices], pauses: list[int]) -> None:
    """While bases are written all the time: between any two steps of the agent it may be killed."""
    with TemporaryDirectory() as made, pytest.MonkeyPatch.context() as patch:
        for name, value in (("_AT_MOST_EVERY", 0.0), ("_AGAIN", 0.0), ("_LEAST", 1)):
            patch.setattr(snapshot_room, name, value)
        agent = Agent(Path(made))

        async def scene() -> None:
            for number, delta in enumerate(hosts_story(history)):
                agent.hear(delta)
                for _ in range(pauses[number % len(pauses)]):
                    assert agent.knows_what_it_was_told()
                    await asyncio.sleep(0)
                assert agent.knows_what_it_was_told()

        agent.play(scene)


def test_what_comes_while_a_base_is_written_is_in_the_new_file_too(tmp_path: Path, at_once: None) -> None:
    agent = Agent(tmp_path, most_threads=1)

    async def scene() -> None:
        agent.hold_disk()
        agent.hear(whole(3))
        await until(lambda: agent.kept._meanwhile is not None)
        first = Watched(tmp_path)
        agent.hear(joins(1))
        agent.hear(joins(2), workload("one"))
        assert agent.knows_what_it_was_told(), "in the old one"
        agent.let_disk_go()
        await until(first.replaced)
        assert agent.knows_what_it_was_told()
        agent.hear(joins(3))
        assert agent.knows_what_it_was_told()

    agent.play(scene)


def test_a_disk_that_takes_its_time_does_not_fill_the_memory(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_room, "_MOST_MEANWHILE", 500)
    agent = Agent(tmp_path, most_threads=1)

    async def scene() -> None:
        agent.hold_disk()
        agent.hear(whole(3))
        await until(lambda: agent.kept._meanwhile is not None)
        first = Watched(tmp_path)
        for number in range(100):
            agent.hear(joins(number))
        assert agent.kept._meanwhile is None
        agent.let_disk_go()
        await until(first.replaced)
        assert agent.knows_what_it_was_told()

    agent.play(scene)


def test_the_file_follows_the_change_and_does_not_grow(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written anew once for as many changes as make up a base."""
    monkeypatch.setattr(snapshot_room, "_LEAST", 2000)
    agent = Agent(tmp_path)

    async def scene() -> None:
        agent.hear(whole(1000))
        await until(lambda: agent.kept._room > 0)
        base, watched = file_in(tmp_path).stat().st_size, Watched(tmp_path)
        for number in range(1000):
            agent.hear(joins(number % 50), Delta(sets={BIG: MemberChange(removed=frozenset({Cidr("11.0.0.1/32")}))}))
            await until(lambda: agent.kept._room >= 0)
            watched.replaced()
        assert agent.knows_what_it_was_told()
        assert 5 <= watched.replaced() < 15, "some 170 bytes each, 17,000 the whole"
        assert watched.longest < 3 * base

    agent.play(scene)


def test_a_server_that_comes_back_again_and_again_does_not_make_it_grow(tmp_path: Path, at_once: None) -> None:
    agent = Agent(tmp_path)

    async def scene() -> None:
        for _ in range(20):
            agent.hear(whole(20_000))
            await until(lambda: agent.kept._room > 0)
        assert file_in(tmp_path).stat().st_size < 3 * len(lines_of(whole(20_000)))
        assert agent.knows_what_it_was_told()

    agent.play(scene)


def test_a_snapshot_is_for_root_alone(tmp_path: Path, at_once: None) -> None:
    """It may hold BGP passwords. So is one that a careless predecessor left."""
    file_in(tmp_path).parent.mkdir()
    file_in(tmp_path).write_text("")
    file_in(tmp_path).chmod(0o644)
    agent = Agent(tmp_path)

    async def scene() -> None:
        agent.hear(whole())
        await until(lambda: file_in(tmp_path).stat().st_mode & 0o777 == 0o600)

    agent.play(scene)
    other = tmp_path / "other"
    keep(at(other), whole())
    assert file_in(other).stat().st_mode & 0o777 == 0o600


# ---- disks that fail


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """So many bytes of each write still find room; None: the disk is well again."""
    write = os.write

    def fill(room: int | None) -> None:
        def short(file: int, text: bytes) -> int:
            left.append(len(text))
            if len(left) > 1 or not room:
                left.clear()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(file, text[:room])

        left: list[int] = []
        monkeypatch.setattr(os, "write", write if room is None else short)

    return fill


@pytest.mark.parametrize("room", [0, 7])
def test_a_full_disk_is_told_once_and_whoever_finds_its_snapshot_knows_that_it_is_behind(
    tmp_path: Path, at_once: None, full: Callable[[int | None], None], room: int
) -> None:
    """And when there is room again it is whole, without a word from the server."""
    agent = Agent(tmp_path)

    async def scene() -> None:
        agent.hear(whole(3))
        await until(lambda: agent.kept._room > 0)
        with capture_logs() as logs:
            full(room)
            for number in range(20):
                agent.hear(joins(number))
                assert at(tmp_path).load() is None, "it would open what has been closed since"
                await asyncio.sleep(0.001)
            full(None)
            await until(lambda: not (tmp_path / "behind").exists())
        assert agent.knows_what_it_was_told()
        assert [each["event"] for each in logs if each["event"] != "snapshot_not_used"] == [
            "snapshot_not_written", "snapshot_written_again"]
        agent.hear(joins(30))
        assert agent.knows_what_it_was_told()
        assert {each.name for each in (tmp_path / "state").iterdir()} == {"snapshot.json"}

    agent.play(scene)


def test_a_full_disk_is_left_behind_with_the_next_whole(tmp_path: Path, full: Callable[[int | None], None]) -> None:
    kept = at(tmp_path)
    keep(kept, whole(3))
    full(7)
    keep(kept, joins(1))
    full(None)
    keep(kept, joins(2))
    assert found(tmp_path) is None, "what was lost is not made up for by what follows"
    keep(kept, whole(1), joins(3))
    assert found(tmp_path) == after(whole(1), joins(3))


def test_a_predecessor_that_fell_behind_is_not_believed_until_a_server_has_spoken(
    tmp_path: Path, full: Callable[[int | None], None]
) -> None:
    kept = at(tmp_path)
    keep(kept, whole(3))
    full(0)
    keep(kept, joins(1))
    full(None)
    with capture_logs() as logs:
        assert found(tmp_path) is None
    assert str(tmp_path / "behind") in logs[0]["why"]
    keep(at(tmp_path), whole(4))
    assert found(tmp_path) == after(whole(4))


def test_a_disk_without_room_for_a_second_whole_goes_on_with_what_it_has(
    tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not hold on to the half of it, nor try again at each change."""
    monkeypatch.setattr(snapshot_room, "_LEAST", 1)
    agent, write, room = Agent(tmp_path), os.write, [1 << 20]

    def half(file: int, text: bytes) -> int:
        if len(text) > room[0]:
            write(file, text[: room[0]])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, text)

    async def scene() -> None:
        agent.hear(whole(1000))
        room[0] = 1000
        with capture_logs() as logs:
            await until(lambda: logs)
            for number in range(10):
                agent.hear(joins(number))
                assert agent.knows_what_it_was_told()
                await asyncio.sleep(0.002)
        assert [each["event"] for each in logs] == ["snapshot_not_renewed"]
        assert {each.name for each in (tmp_path / "state").iterdir()} == {"snapshot.json"}
        assert not (tmp_path / "behind").exists()
        room[0], watched = 1 << 20, Watched(tmp_path)
        for number in range(300):
            agent.hear(joins(number))
        await until(watched.replaced)
        assert agent.knows_what_it_was_told()

    monkeypatch.setattr(os, "write", half)
    agent.play(scene)


@pytest.mark.parametrize("gone", ["file", "directory"])
def test_what_was_cleared_up_is_made_again(tmp_path: Path, at_once: None, gone: str) -> None:
    agent = Agent(tmp_path)

    async def scene() -> None:
        agent.hear(whole(3))
        await until(lambda: agent.kept._room > 0)
        file_in(tmp_path).unlink()
        if gone == "directory":
            (tmp_path / "state").rmdir()
        agent.hear(joins(1))
        await until(agent.knows_what_it_was_told)
        agent.hear(joins(2))
        assert agent.knows_what_it_was_told()

    agent.play(scene)


def test_a_file_that_somebody_else_writes_is_not_gone_on_with(tmp_path: Path, at_once: None) -> None:
    agent = Agent(tmp_path)

    async def scene() -> None:
        agent.hear(whole(3))
        await until(lambda: agent.kept._room > 0)
        file_in(tmp_path).write_bytes(b"mine")
        agent.hear(joins(1))
        await until(agent.knows_what_it_was_told)

    agent.play(scene)
