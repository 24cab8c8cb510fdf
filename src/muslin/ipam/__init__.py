"""Block algebra: which address comes next, and which writes to try. The server does the compare-and-swap.

In: pools, blocks, affinities and reservations as data, and `now`. Out: steps, made of the writes to try.
Never here: retry loops, a store client. Start reading at `assign`; `block` and `affinity` are the state machines.
"""
