"""Limits of a workload's link, checked: what the kernel is told is within the bounds that Calico's API allows.

A limit that cannot be used is no limit, and is reported: traffic goes on as if nobody had written it.
"""

from __future__ import annotations

from functools import lru_cache

from muslin.intent import Qos
from muslin.model.endpoint import QoSControls
from muslin.model.validation.endpoint import QOS_BOUNDS
from muslin.net import dscp_number

_FIELDS = {
    f"{direction}_{ours}": (f"{direction}_{theirs}", direction + suffix, suffix)
    for direction in ("ingress", "egress")
    for ours, theirs, suffix in (
        ("bandwidth", "bandwidth", "Bandwidth"), ("burst", "burst", "Burst"), ("peakrate", "peakrate", "Peakrate"),
        ("minburst", "minburst", "Minburst"), ("packet_rate", "packet_rate", "PacketRate"),
        ("packet_burst", "packet_burst", "PacketBurst"), ("connections", "max_connections", "MaxConnections"),
    )
}


@lru_cache(maxsize=1024)
def limits(given: QoSControls) -> tuple[Qos | None, tuple[str, ...]]:
    """(the limits, None if there are none; what is wrong). Remembered: many endpoints share a few."""
    good: dict[str, int] = {}
    faults = []
    for ours, (theirs, name, suffix) in _FIELDS.items():
        value = getattr(given, theirs) or 0
        least, most = QOS_BOUNDS[suffix]
        if value and not least <= value <= most:
            faults.append(f"spec.qosControls.{name}: {value} is not within {least}..{most}; left out")
        elif value:
            good[ours] = value
    dscp = None
    if given.dscp is not None:
        try:
            dscp = dscp_number(given.dscp)
        except ValueError as error:
            faults.append(f"spec.qosControls.dscp: {error}; left out")
    return (Qos(**good, dscp=dscp) if good or dscp is not None else None), tuple(faults)
