"""Documents that say what people expect of their policies, which lie beside the policies and are no resources.

    expectations: [...]     or  allow: [...]  and  deny: [...]     or a list of mappings  - allow: web -> api tcp/80

They have neither apiVersion nor kind. `muslin test` reads them; whoever sends resources passes them over.
"""

from __future__ import annotations

from typing import Any

FIELDS = frozenset({"expectations", "allow", "deny"})


def expects(value: Any) -> bool:
    """Is this document about expectations?"""
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, dict) and not {"apiVersion", "kind"} & set(one)
                                   and {"allow", "deny"} & set(one) for one in value)
    return isinstance(value, dict) and bool(FIELDS & value.keys()) and not {"apiVersion", "kind"} & value.keys()
