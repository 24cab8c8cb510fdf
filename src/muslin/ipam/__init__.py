"""Block algebra: which address comes next, and which writes to try. The server does the compare-and-swap.

In: pools, blocks, affinities and reservations as data. Out: new values and the writes that would make them true.
Never here: retry loops, a store client.
"""
