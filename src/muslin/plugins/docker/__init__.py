"""Docker: dockerd asks for networks and addresses (libnetwork's remote driver and IPAM protocols); this host answers.

In: calls of dockerd, one JSON object each. Out: requests to the agent's workloads, addresses from the server, and
ordinary resources (a Profile for each network). Never here: policy, kernel, a store of our own beside a small journal.

    dockerd --unix socket--> door (a process of its own, always there) --> service (in the agent) --> workloads, server
    containers' questions for names --> resolver (a process of its own) <-- naming (in the agent) <-- server

Nothing is imported here: the resolver takes its own modules from here, and needs no others.
"""
