"""Bytes under keys, with revisions: get, list, watch, compare-and-swap. `memory`, `sqlite` (and `etcd`) pass ONE suite.

In: keys (text, slash-separated), values (bytes), expected revisions. Out: entries and ordered events.
Never here: policy, kinds (but for `layout`, which says where each kind lies), JSON.
"""

from muslin.store.contract import Compacted, Entry, Event, Page, Store, Write
from muslin.store.draft import Draft
from muslin.store.open import open_store

__all__ = ["Compacted", "Draft", "Entry", "Event", "Page", "Store", "Write", "open_store"]
