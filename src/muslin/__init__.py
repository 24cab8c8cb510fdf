"""muslin: plain routed networking, with policy at the workload's own interface."""

__version__ = "0.1.0"
