"""What an addition has begun is found again by the next agent, whatever became of the file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from muslin.agent import journal as journal_room
from muslin.agent.journal import Entry, Journal, read
from muslin.errors import Transient
from muslin.intent import EndpointKey


def entry(name: str) -> Entry:
    return Entry(key=EndpointKey(f"WorkloadEndpoint/default/{name}"), interface=f"mus{name}", handle=f"h.{name}")


def test_an_entry_is_found_by_the_next_agent_until_it_is_removed(tmp_path: Path) -> None:
    journal, one, other = Journal(tmp_path), entry("one"), entry("other")
    assert journal.entries() == ()
    journal.write(one)
    journal.write(other)
    assert read(tmp_path) == (one, other) == Journal(tmp_path).entries()
    journal.remove(one.key)
    journal.remove(one.key)
    assert Journal(tmp_path).entries() == (other,)
    assert (journal.holds(one.key), journal.holds(other.key)) == (False, True)


def test_an_entry_of_a_predecessor_is_removed_as_ones_own(tmp_path: Path) -> None:
    one, other = entry("one"), entry("other")
    Journal(tmp_path).write(one)
    journal = Journal(tmp_path)
    journal.write(other)
    assert journal.entries() == (one, other)
    journal.remove(one.key)
    assert Journal(tmp_path).entries() == (other,)


def test_the_same_workload_may_come_again(tmp_path: Path) -> None:
    journal, one = Journal(tmp_path), entry("one")
    journal.write(one)
    journal.remove(one.key)
    journal.write(one)
    assert Journal(tmp_path).entries() == (one,)


@pytest.mark.parametrize("torn", [b'{"begun":{"key":"Work', b'{"ended":', b"\xff\n", b"\n", b"7\n"])
def test_a_torn_line_spoils_none_of_the_others(tmp_path: Path, torn: bytes) -> None:
    one, other = entry("one"), entry("other")
    Journal(tmp_path).write(one)
    with (tmp_path / "additions.jsonl").open("ab") as file:
        file.write(torn)
    journal = Journal(tmp_path)
    journal.write(other)
    assert Journal(tmp_path).entries() == (one, other)


class Watched:
    """How often the file was replaced, and how long it was at most."""

    def __init__(self, file: Path) -> None:
        self._path = file
        self._file = file.open()
        self.replaced = self.longest = 0

    def look(self) -> None:
        self.longest = max(self.longest, self._path.stat().st_size)
        if not os.fstat(self._file.fileno()).st_nlink:
            self._file.close()
            self._file = self._path.open()
            self.replaced += 1


def test_the_file_does_not_grow_with_what_has_come_and_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While something is under way all the time, too; and it is not written anew for each."""
    monkeypatch.setattr(journal_room, "_LONGEST", 4096)
    journal, stays = Journal(tmp_path), entry("stays")
    journal.write(stays)
    watched = Watched(tmp_path / "additions.jsonl")
    for number in range(300):
        journal.write(entry(f"w{number}"))
        journal.remove(entry(f"w{number}").key)
        watched.look()
    assert watched.longest < 2 * 4096
    assert 1 < watched.replaced < 30
    assert Journal(tmp_path).entries() == (stays,)


def test_many_at_once_are_not_written_anew_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_room, "_LONGEST", 256)
    journal, many = Journal(tmp_path), [entry(f"w{number}") for number in range(300)]
    journal.write(many[0])
    watched = Watched(tmp_path / "additions.jsonl")
    for each in many:
        journal.write(each)
        watched.look()
    assert watched.replaced < 20
    assert Journal(tmp_path).entries() == tuple(many)


def test_a_directory_that_was_cleared_up_is_made_again(tmp_path: Path) -> None:
    journal, one = Journal(tmp_path / "state"), entry("one")
    journal.write(one)
    journal.remove(one.key)
    for file in (tmp_path / "state").iterdir():
        file.unlink()
    (tmp_path / "state").rmdir()
    journal.write(one)
    assert Journal(tmp_path / "state").entries() == (one,)


def fill_disk(patch: pytest.MonkeyPatch, room: int) -> None:
    """So many bytes of a line are still written, and of a new file nothing."""
    write = os.write

    def short(file: int, text: bytes) -> int:
        return write(file, text[:room])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, "write", short if room else full)
    patch.setattr(Path, "write_bytes", full)


@pytest.mark.parametrize("room", [0, 7])
def test_an_end_that_a_full_disk_does_not_take_is_no_addition_to_undo(tmp_path: Path, room: int) -> None:
    journal, one, other, third = Journal(tmp_path), entry("one"), entry("other"), entry("third")
    journal.write(one)
    journal.write(other)
    with pytest.MonkeyPatch.context() as patch:
        fill_disk(patch, room)
        journal.remove(one.key)
        assert one not in read(tmp_path)
        with pytest.raises(Transient, match="No space left"):
            journal.write(third)
        assert not journal.holds(third.key)
    journal.write(third)
    assert read(tmp_path) == (other, third)


def test_a_line_that_is_cut_short_is_written_again(tmp_path: Path) -> None:
    journal, one, other = Journal(tmp_path), entry("one"), entry("other")
    journal.write(one)
    with pytest.MonkeyPatch.context() as patch:
        write = os.write
        patch.setattr(os, "write", lambda file, text: write(file, text[:7]))
        journal.write(other)
    journal.remove(one.key)
    assert read(tmp_path) == (other,)
