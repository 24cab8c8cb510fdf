"""Resources in, intent out, incrementally. `cluster`: once for all hosts, in the server. `host`: the thin view of one.

In: batches of key -> resource | None. Out: `intent.Delta`s. Output is a function of current state alone.
Never here: callbacks into a shell, queues, I/O, a clock.
"""
