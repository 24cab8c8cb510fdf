"""Who is meant by one side of an expectation: one end, or many.

    web, shop/web       a workload, as everywhere             host/h1      a host
    {app == 'web'}      workloads with these labels           shop/{...}   of one namespace
    *, shop/*           all workloads                         10.0.0.0/8   every address in it, whoever has it
    8.8.8.8             an address                            outside      every address that nobody here has
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muslin.errors import Invalid
from muslin.explain import ends
from muslin.explain.ends import Directory, End
from muslin.model.selector import SelectorError
from muslin.model.selector import parse as parse_selector
from muslin.net import Cidr, host_cidr, parse_cidr

EVERYBODY = "*"
_NOT_WRITTEN = ("projectcalico.org/", "pcns.", "pcsa.")
"""Labels that nobody wrote on a workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """`ends`: workloads and hosts. `nets`: all addresses in these. `outside`: all that nobody here has."""

    ends: tuple[End, ...] = ()
    nets: tuple[Cidr, ...] = ()
    outside: bool = False


def company(text: str, namespace: str, directory: Directory) -> Company:
    """Raises Invalid when nobody is meant, or nobody knows who."""
    if text == EVERYBODY:
        return Company(ends=_some(directory.workloads, "there is no workload at all: add pods or endpoints"))
    if text == ends.OUTSIDE:
        return Company(outside=True)
    inside, slash, rest = text.partition("/")
    if slash and rest == EVERYBODY:
        found = tuple(end for end in directory.workloads if end.namespace == inside)
        spaces = ", ".join(sorted({one.key.namespace for one in directory.known})) or "none"
        return Company(ends=_some(found, f"there is no workload in namespace {inside!r}: there are {spaces}"))
    if text.startswith("{"):
        return Company(ends=_selected(text, namespace, directory))
    if slash and rest.startswith("{"):
        return Company(ends=_selected(rest, inside, directory))
    if _is_address(inside):
        if slash:
            return Company(nets=(parse_cidr(text),))
        end = directory.resolve(text)
        return Company(nets=(host_cidr(text),)) if end.sort == ends.OUTSIDE else Company(ends=(end,))
    bare = namespace and not slash and text not in directory.hosts
    return Company(ends=(directory.resolve(f"{namespace}/{text}" if bare else text),))


def _selected(text: str, namespace: str, directory: Directory) -> tuple[End, ...]:
    words = text[1:-1].strip() if text.endswith("}") else ""
    if not words:
        raise Invalid(f"{text!r}: write a selector in braces, such as {{app == 'web'}}")
    try:
        selector = parse_selector(words)
    except SelectorError as error:
        raise Invalid(f"{text}: {error}") from None
    found = tuple(end for one, end in zip(directory.known, directory.workloads, strict=True)
                  if namespace in ("", end.namespace) and selector.matches(one.labels))
    if not found:
        where = f" in namespace {namespace}" if namespace else ""
        raise Invalid(f"no workload has labels like {text}{where}{_labels_there(directory, namespace)}")
    return found


def _labels_there(directory: Directory, namespace: str) -> str:
    """Some of the labels that are there, so that a slip is seen."""
    found = {f"{name}={value}": None for one in directory.known if namespace in ("", one.key.namespace)
             for name, value in sorted(one.labels.items()) if not name.startswith(_NOT_WRITTEN)}
    some = ", ".join(list(found)[:6])
    return f": there are {some}{', ...' if len(found) > 6 else ''}" if found else ": no workload has any label"


def _some(found: Sequence[End], otherwise: str) -> tuple[End, ...]:
    if not found:
        raise Invalid(otherwise)
    return tuple(found)


def _is_address(text: str) -> bool:
    return ":" in text or (text.replace(".", "").isdigit() and "." in text)
