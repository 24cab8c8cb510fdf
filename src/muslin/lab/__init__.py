"""A whole data centre of network namespaces on one machine: routers, hosts, workloads, real daemons, faults.

A product: people learn, demonstrate and test with it. In: a topology. Out: a running lab that `down` removes whole.
"""
