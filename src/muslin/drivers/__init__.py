"""The only room that touches the kernel, netlink, BIRD and subprocesses. Each driver: `read()`, `apply(plan)`.

Each says how it recognises its own things after a restart. Never here: decisions about policy.
"""
