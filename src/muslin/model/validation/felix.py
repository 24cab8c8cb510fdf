"""What must hold between the fields of FelixConfiguration."""

from __future__ import annotations

from typing import Any

from muslin.model.fault import Reason
from muslin.model.validation.findings import Findings, shown

_MOST_TABLES = 65535

Object = dict[str, Any]


def check_felix_configuration(found: Object, findings: Findings) -> None:
    spec, name = found.get("spec", {}), found.get("metadata", {}).get("name", "")
    if "nodeSelector" in spec and (name == "default" or name.startswith("node.")):
        findings.add(("spec", "nodeSelector"), f"nodeSelector in the FelixConfiguration {shown(name)}",
                     "this name already says for which hosts it is", "take it out, or choose another name",
                     Reason.FORBIDDEN)
    one, several = spec.get("routeTableRange"), spec.get("routeTableRanges")
    if one is not None and several is not None:
        findings.add(("spec", "routeTableRange"), "routeTableRange beside routeTableRanges", "both say which tables",
                     "keep routeTableRanges", Reason.FORBIDDEN)
    low, high = (one or {}).get("min", 1), (one or {}).get("max", 250)
    if not 1 <= low <= high <= 250:
        findings.add(("spec", "routeTableRange"), f"tables {shown(low)} to {shown(high)}",
                     "they go from 1 to 250, the smaller first", "write routeTableRanges, or numbers within 1 and 250")
    _check_tables(several or [], findings)


def _check_tables(ranges: list[Object], findings: Findings) -> None:
    total = 0
    for index, one in enumerate(ranges):
        low, high = one.get("min", 1), one.get("max", _MOST_TABLES)
        if low > high:
            findings.add(("spec", "routeTableRanges", index), f"min {shown(low)} is more than max {shown(high)}", "",
                         "exchange them")
        total += max(0, high - low + 1)
    if total > _MOST_TABLES:
        findings.add(("spec", "routeTableRanges"), f"{shown(total)} tables", f"{_MOST_TABLES} is the most",
                     "write smaller ranges")
