"""Names that carry meaning: a workload endpoint's, and its interface's on the host.

A WorkloadEndpoint has no free name. It is put together from who it is, `<node>-<orchestrator>-<workload>-<endpoint>`,
so that two writers that speak of the same interface speak of the same key. A dash inside a segment is doubled; a
single dash separates. A segment is never empty and neither begins nor ends with a dash, else the name could be read
in two ways. Calico computes the same names, and reads host and workload back out of them.
"""

from __future__ import annotations

import hashlib
import re

from muslin.errors import Invalid

DEFAULT_NAMESPACE = "default"
ORCHESTRATOR = "muslin"
"""Orchestrator of workloads that `muslin workload add` makes."""
ENDPOINT = "eth0"
HANDLE_PREFIX = "muslin."
INTERFACE_PREFIX = "mus"

_SEGMENT_NAMES = ("node", "orchestrator", "workload", "endpoint")
# From left to right: a doubled dash is a literal one, a dash alone ends the segment.
_TOKEN = re.compile(r"--|-|[^-]+")
NAMES_OF, NAMES_IN = "muslin.dev/names", "muslin.dev/names-in"
"""Annotations of a WorkloadEndpoint: what its workload is called by others, with blanks between; and in which realm,
such as a Docker network. By the first name the owner of an address is told."""


def workload_endpoint_name(node: str, orchestrator: str, workload: str, endpoint: str) -> str:
    """`h1-muslin-web--1-eth0` for ("h1", "muslin", "web-1", "eth0"). Raises Invalid."""
    segments = (node, orchestrator, workload, endpoint)
    for name, segment in zip(_SEGMENT_NAMES, segments, strict=True):
        _check_segment(name, segment)
    return "-".join(segment.replace("-", "--") for segment in segments)


def parse_workload_endpoint_name(name: str) -> tuple[str, str, str, str]:
    """(node, orchestrator, workload, endpoint) of a WorkloadEndpoint's name. Raises Invalid."""
    segments = [""]
    for token in _TOKEN.findall(name):
        if token == "-":
            segments.append("")
        else:
            segments[-1] += "-" if token == "--" else token
    if len(segments) != len(_SEGMENT_NAMES):
        raise Invalid(
            f"workload endpoint name {name!r} has {len(segments)} segments, not 4: "
            "write <node>-<orchestrator>-<workload>-<endpoint>, and double every dash inside a segment"
        )
    for segment_name, segment in zip(_SEGMENT_NAMES, segments, strict=True):
        _check_segment(segment_name, segment)
    node, orchestrator, workload, endpoint = segments
    return node, orchestrator, workload, endpoint


def interface_name(namespace: str, name: str) -> str:
    """The host's side of a workload's link: `mus` and 11 hex digits, 14 characters (the kernel takes 15)."""
    digest = hashlib.sha1(f"{namespace}/{name}".encode(), usedforsecurity=False).hexdigest()
    return INTERFACE_PREFIX + digest[:11]


def address_handle(namespace: str, name: str) -> str:
    """Under which a WorkloadEndpoint's addresses are assigned.

    Holds the resource's name, not the workload's: two hosts may each have a workload of the same name.
    """
    return f"{HANDLE_PREFIX}{namespace}.{name}"


def _check_segment(name: str, segment: str) -> None:
    if not segment:
        raise Invalid(f"the {name} of a workload endpoint's name is empty: give the {name} a value")
    if segment.startswith("-") or segment.endswith("-"):
        raise Invalid(f"the {name} {segment!r} begins or ends with a dash, which looks like a separator: rename it")
