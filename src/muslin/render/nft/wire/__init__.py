"""The same commands that `text` prints, as the netlink messages that `nft` would make of them.

In: commands of `table`, in their order. Out: the bytes of one batch, and for each message the command that it stands
for. What does not fit the kernel's words (a port of 70000) is refused here, by name.
Never here: a socket. The text stays the other way to say it, and the tests' oracle: both must list alike.
"""

from muslin.render.nft.wire.batch import Batch, emptied_table, encoded, removed_table

__all__ = ["Batch", "emptied_table", "encoded", "removed_table"]
