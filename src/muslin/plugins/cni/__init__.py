"""CNI: container runtimes call an executable; it hands the call to this host's agent, which carries it out.

In: a call (command, environment, network configuration). Out: requests to the agent's workloads, and the result or
error in the caller's own words and version. Never here: policy, kernel, addresses of our own making.

    runtime --exec--> executable (standard library alone) --unix socket--> service --> agent's workloads
"""

from muslin.plugins.cni.service import Service

__all__ = ["Service"]
