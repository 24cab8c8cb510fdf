"""Bytes that are no UTF-8, on disk and from callers, are as illegible as what is no JSON is."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from muslin.agent import book
from muslin.agent.journal import Entry, Journal
from muslin.intent import EndpointKey
from muslin.plugins.cni.call import Call, addresses_of, configuration
from muslin.plugins.cni.faults import Fault

NO_TEXT = b'{"name":"\xff"}'


def test_a_damaged_entry_of_the_journal_goes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(Entry(key=EndpointKey("WorkloadEndpoint/default/a"), interface="musa", handle="h"))
    [file] = tmp_path.iterdir()
    file.write_bytes(file.read_bytes().replace(b"musa", b"mus\xff"))
    assert Journal(tmp_path).entries() == ()


def test_a_damaged_book_of_flows_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "flows"
    file.write_bytes(msgspec.msgpack.encode("abc").replace(b"abc", b"\xff\xff\xff"))
    assert book.load(file) == {}


@pytest.mark.parametrize("read", [configuration, addresses_of])
def test_a_caller_whose_words_are_no_text_is_told(read: object) -> None:
    assert callable(read)
    with pytest.raises(Fault, match="not JSON"):
        read(Call(command="ADD", config=NO_TEXT, addresses=NO_TEXT))
