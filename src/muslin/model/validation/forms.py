"""The table of forms: which check a name in a field's annotation stands for.

The structs say `form="interface"` (`model.shape`); here that becomes a function from a value to what is wrong with it.
The forms of addresses and numbers have modules of their own; names, durations and expressions are here.
"""

from __future__ import annotations

import base64
import binascii
import re

from muslin.model.selector import SelectorError
from muslin.model.selector import parse as parse_selector
from muslin.model.validation import addresses, numbers
from muslin.model.validation.findings import shown
from muslin.model.validation.wrong import MixedForm, TextForm, Wrong

LONGEST_NAME = 253
LONGEST_LABEL = 63
_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
NAME_LABEL = re.compile(_LABEL)
_WORD = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_DURATION = re.compile(r"0|(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|us|µs|ns|s))+")
_TIMER = re.compile(r"Auto|(?:[0-9]+(?:\.[0-9]*)?(?:ms|s|h|m|us))+")
_BEYOND_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!])|\\[1-9]")
_LONGEST_INTERFACE = 15


def name(text: str) -> Wrong | None:
    """A DNS subdomain (RFC 1123)."""
    if len(text) > LONGEST_NAME:
        return f"a name of {len(text)} characters", f"{LONGEST_NAME} is the most", "write a shorter one"
    if NAME.fullmatch(text):
        return None
    why = "names have a-z, 0-9, '-' and '.', and letters or digits at their ends"
    return f"{shown(text)} is no name", why, renamed(text)


def renamed(text: str, joiner: str = ".") -> str:
    """The mend for a name: the closest that is one. `joiner` "" for names without dots."""
    made = re.sub(r"[^a-z0-9.]+", "-", text.casefold())
    made = re.sub(r"[-.]*\.[-.]*", joiner or "-", made).strip("-.")
    return f"write {made}" if NAME.fullmatch(made) and len(made) <= LONGEST_LABEL else "write one such as web-1"


def label_name(text: str) -> Wrong | None:
    """`name` or `domain/name`: selectors and kubectl can say no others, so nothing could match them."""
    domain, slash, word = text.rpartition("/")
    if slash and not (len(domain) <= LONGEST_NAME and NAME.fullmatch(domain)):
        why = "before the slash stands a domain in small letters"
        return f"{shown(text)} is no label name", why, f"write one such as example.com/{word or 'app'}"
    if len(word) > LONGEST_LABEL:
        return f"{shown(text)} is too long", f"{LONGEST_LABEL} characters is the most", "shorten it"
    if not _WORD.fullmatch(word):
        why = "it has letters, digits, '-', '_' and '.', and a letter or digit at its ends"
        return f"{shown(text)} is no label name", why, f"write {domain}{slash}{_as_word(word) or 'app'}"
    return None


def label_value(text: str) -> Wrong | None:
    """May be empty."""
    if text == "" or (len(text) <= LONGEST_LABEL and _WORD.fullmatch(text)):
        return None
    why = f"it has letters, digits, '-', '_' and '.', a letter or digit at its ends, {LONGEST_LABEL} at most"
    return f"{shown(text)} is no label value", why, f"write {_as_word(text) or 'a word'}"


def _as_word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:LONGEST_LABEL].strip("-_.")


def selector(text: str) -> tuple[Wrong, int] | None:
    """What is wrong, and at which letter."""
    try:
        parse_selector(text)
    except SelectorError as error:
        pointed = str(error).partition("\n")[2]
        return (f"the selector does not parse: {error.what}", "", f"{error.mend}\n{pointed}"), error.column
    return None


def duration(text: str) -> Wrong | None:
    """As Go writes them."""
    if _DURATION.fullmatch(text):
        return None
    bare = text.strip()
    number = bare.isascii() and bare.replace(".", "", 1).isdigit()
    mend = f"say the unit: {bare}s" if number else "write one such as 90s, 1m30s or 500ms"
    return f"{shown(text)} is no duration", "a number and its unit (h, m, s, ms) go here", mend


def timer(text: str) -> Wrong | None:
    """A duration, or what Linux uses."""
    if _TIMER.fullmatch(text):
        return None
    return f"{shown(text)} is no duration", "a number and its unit, or Auto, go here", "write one such as 10s, or Auto"


def regex(text: str) -> Wrong | None:
    """Calico's agents compile with RE2, which knows nothing that has to backtrack."""
    beyond = _BEYOND_RE2.search(text)
    if beyond:
        why = "agents know no look-around and no back references"
        return f"{shown(text)} uses {beyond.group()}", why, "write the expression without"
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        mend = "write .* to match everything" if text in ("*", "+", "?") else "mend the expression there"
        return f"{shown(text)} is no regular expression: {error}", "", mend
    return None


def interface(text: str) -> Wrong | None:
    """A Linux interface, or `*` for all."""
    return None if text == "*" else _interface(text, r"[a-zA-Z0-9_.-]{1,15}", "eth0")


def filter_interface(text: str) -> Wrong | None:
    """With `*` for any letters."""
    return _interface(text, r"[a-zA-Z0-9_.*-]{1,15}", "eth*")


def ignored_interface(text: str) -> Wrong | None:
    """With `*` for any letters, but not all of them."""
    if text == "*":
        return "'*' ignores every interface", "then no route would be left", "write a beginning such as docker*"
    return filter_interface(text)


def interface_filter(text: str) -> Wrong | None:
    """As iptables matches them: `+` at the end for any letters."""
    return _interface(text, r"[a-zA-Z0-9:._+-]{1,15}", "eth+")


def _interface(text: str, pattern: str, example: str) -> Wrong | None:
    if re.fullmatch(pattern, text):
        return None
    why = "Linux has 15 characters for it" if len(text) > _LONGEST_INTERFACE else "it has letters, digits and _ . -"
    return f"{shown(text)} is no interface name", why, f"write one such as {example}"


def region(text: str) -> Wrong | None:
    """It becomes part of a namespace, `openstack-region-<region>`."""
    most = LONGEST_LABEL - len("openstack-region-")
    if len(text) <= most and NAME_LABEL.fullmatch(text):
        return None
    return f"{shown(text)} is no region", f"it has a-z, 0-9 and '-', {most} at most", "write one such as region-1"


def wireguard_key(text: str) -> Wrong | None:
    """A public key."""
    wrong = (f"{shown(text)} is no WireGuard key", "it is 32 bytes in base64", "write what `wg pubkey` prints")
    try:
        return None if len(base64.b64decode(text, validate=True)) == 32 else wrong
    except (binascii.Error, ValueError):
        return wrong


def _pattern(pattern: str, what: str, why: str, mend: str) -> TextForm:
    compiled = re.compile(pattern)
    return lambda text: None if compiled.fullmatch(text) else (f"{shown(text)} is no {what}", why, mend)


_NAMED_VALUES = "it is NAME=value, joined by commas"

TEXT_FORMS: dict[str, TextForm] = {
    "name": name,
    "label_name": label_name,
    "label_value": label_value,
    "address": addresses.address,
    "address4": addresses.address4,
    "address6": addresses.address6,
    "net": addresses.net,
    "net4": addresses.net4,
    "net6": addresses.net6,
    "cidr": addresses.cidr,
    "cidr4": addresses.cidr4,
    "cidr6": addresses.cidr6,
    "rule_net": addresses.whole_net,
    "pool_cidr": addresses.whole_net,
    "mac": addresses.mac,
    "peer_address": addresses.peer_address,
    "port_name": numbers.port_name,
    "community": numbers.community,
    "interface": interface,
    "filter_interface": filter_interface,
    "ignored_interface": ignored_interface,
    "interface_filter": interface_filter,
    "duration": duration,
    "timer": timer,
    "regex": regex,
    "region": region,
    "wireguard_key": wireguard_key,
    "container_id": _pattern(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?", "container ID",
                             "it has letters, digits and '-', none at its ends", "write it as the runtime prints it"),
    "metrics_host": _pattern(r"[a-zA-Z0-9:._+-]{1,64}", "host", "", "write an address or a name such as localhost"),
    "health_name": _pattern(r"[a-zA-Z0-9_ -]+", "part of the agent", "it has letters, digits, blanks, '_' and '-'",
                            "write a name such as InternalDataplaneMainLoop"),
    "log_rate": _pattern(r"[1-9]\d{0,3}/(?:second|minute|hour|day)", "rate",
                         "it is 1-9999 per second, minute, hour or day", "write one such as 10/second"),
    "log_prefix": _pattern(r"[a-zA-Z0-9%: /_-]*", "log prefix", "it has letters, digits, blanks and % : / _ -",
                           "write one such as calico-packet"),
    "feature_detection": _pattern(r"(?:[a-zA-Z0-9_-]+=(?:true|false|),)*(?:[a-zA-Z0-9_-]+=(?:true|false|))?",
                                  "list of features", _NAMED_VALUES, "write one such as A=true,B=false"),
    "feature_gates": _pattern(r"(?:[a-zA-Z0-9_-]+=[^=]+,)*(?:[a-zA-Z0-9_-]+=[^=]+)?", "list of features",
                              _NAMED_VALUES, "write one such as A=enabled,B=false"),
}

MIXED_FORMS: dict[str, MixedForm] = {
    "port": numbers.port,
    "kubernetes_port": numbers.kubernetes_port,
    "numeric_port": numbers.numeric_port,
    "protocol": numbers.protocol,
    "as_number": numbers.as_number,
    "dscp": numbers.dscp,
}
