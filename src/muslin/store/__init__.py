"""Bytes under keys, with revisions: get, list, watch, compare-and-swap. `memory`, `sqlite` (and `etcd`) pass ONE suite.

In: keys (text, slash-separated), values (bytes), expected revisions. Out: entries and ordered events.
Never here: policy, kinds, JSON.
"""

from muslin.store.contract import Compacted, Entry, Event, Page, Store

__all__ = ["Compacted", "Entry", "Event", "Page", "Store"]
