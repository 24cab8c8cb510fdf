"""What an addition has begun is found again by the next agent; a file that is done with serves the next entry."""

from __future__ import annotations

from pathlib import Path

from muslin.agent.journal import Entry, Journal
from muslin.intent import EndpointKey


def entry(name: str) -> Entry:
    return Entry(key=EndpointKey(f"WorkloadEndpoint/default/{name}"), interface=f"mus{name}", handle=f"h.{name}")


def test_an_entry_is_found_by_the_next_agent_until_it_is_removed(tmp_path: Path) -> None:
    journal, one, other = Journal(tmp_path), entry("one"), entry("other")
    journal.write(one)
    journal.write(other)
    assert {each.key for each in Journal(tmp_path).entries()} == {one.key, other.key}
    journal.remove(one.key)
    journal.remove(one.key)
    assert Journal(tmp_path).entries() == (other,)
    assert (journal.holds(one.key), journal.holds(other.key)) == (False, True)


def test_what_a_file_held_before_does_not_show_in_the_next_entry(tmp_path: Path) -> None:
    """The old text is longer than the new one."""
    journal, long, short = Journal(tmp_path), entry("a-name-that-is-longer"), entry("b")
    journal.write(long)
    journal.remove(long.key)
    journal.write(short)
    assert Journal(tmp_path).entries() == (short,)
    assert len([*(tmp_path / "additions").iterdir()]) == 1


def test_files_do_not_gather(tmp_path: Path) -> None:
    """Neither when one key comes again and again, nor over restarts, nor after many at once."""
    for _ in range(3):
        journal = Journal(tmp_path)
        many = [entry(f"w{number}") for number in range(100)]
        for each in (*many, *many):
            journal.write(each)
        for each in many:
            journal.remove(each.key)
        for _ in range(5):
            journal.write(many[0])
            journal.remove(many[0].key)
    assert len([*(tmp_path / "additions").iterdir()]) <= 64
    assert Journal(tmp_path).entries() == ()


def test_a_directory_that_was_cleared_up_is_made_again(tmp_path: Path) -> None:
    journal, one = Journal(tmp_path), entry("one")
    journal.write(one)
    journal.remove(one.key)
    for file in (tmp_path / "additions").iterdir():
        file.unlink()
    (tmp_path / "additions").rmdir()
    journal.write(one)
    assert Journal(tmp_path).entries() == (one,)
