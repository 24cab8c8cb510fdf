"""Intent to a backend's words: an nftables model and its text, bird.conf.

In: `intent`. Out: data and text. Never here: running or reading anything.
"""
