"""The proof that all readers of policy agree, and what runs it: `./dev prove`, and tests/kernel/test_proof_packets.py.

    worlds, aim     random resources, and packets aimed at the edges of their rules          (seeded)
    oracle, law     a slow and plain opinion that shares no code with muslin
    rig, kernels    a host in a namespace for each backend: the same intent, the same packets on the wire
    opinions        nftables, iptables, `explain` and the oracle, side by side
    shrink, scenario   a disagreement made small, and kept as a file that is a test from then on

In: a seed, or a scenario file. Out: agreement, or the file that shows the disagreement.
"""
