"""What things are called in the kernel, and what is written beside them.

Somebody who debugs a host starts from `nft list table inet muslin`, so names carry the words of the API: the chain of
a policy is `ingress4/NetworkPolicy/shop/allow-web`, and a rule's comment is the policy, direction and rule number that
`why` speaks of as well. nft takes letters, digits and `/ . _ -` in names and at most 128 bytes of comment, so what is
too long or too strange is cut and gets a hash instead; two things never share a name.
"""

from __future__ import annotations

import hashlib
import re

from muslin.intent import GroupId, Origin, PolicyId, SetId, Settings

COMMENT_LIMIT = 127
LOG_PREFIX_LIMIT = 127
PIECE_LIMIT = 24
NAME_LIMIT = 200
"""The kernel takes 255 bytes; room is left for what is put before and after."""

BY_INTERFACE = frozenset({"ingress"})
"""Gates at which a list is looked up by interface alone, in one map for both families."""

_NAME = re.compile(r"[A-Za-z0-9/._-]*")
_STRANGE = re.compile(r"[^A-Za-z0-9/._-]")
_UNPRINTABLE = re.compile(r"[^ -~]")
_INTERFACE = re.compile(r"[!#%-)+-\[\]-~]{1,15}")
"""All that Linux takes, but for what nft gives a meaning of its own: quotes, `$`, `*`, and the backslash."""


def policy_chain(policy: PolicyId, gate: str, family: int) -> str:
    return f"{gate}{family}/{_plain(policy)}"


def piece_chain(policy_chain: str, lines: tuple[int, ...]) -> str:
    """Some lines of a policy: `.../web/0.2-5`."""
    spans: list[list[int]] = []
    for number in lines:
        if spans and spans[-1][-1] + 1 == number:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    text = ".".join("-".join(str(end) for end in span) for span in spans)
    return f"{policy_chain}/{text if len(text) <= PIECE_LIMIT else _digest(text)}"


def ports_map(chain: str, block: int) -> str:
    """The map of a chain's block of rules, by protocol and port."""
    return f"{chain}/ports{block}"


def ports_chain(chain: str, block: int, protocol: int, port: int) -> str:
    """What all those ports meet of which this is the first."""
    return f"{ports_map(chain, block)}/{protocol}-{port}"


def peers_map(chain: str, number: int) -> str:
    """The map of a chain's crowd of rules, by the peer's address."""
    return f"{chain}/peers{number}"


def alike_set(policy_chain: str, rules: tuple[int | None, int | None], content: str) -> str:
    """The ports of some rules of a policy, of which these are the first and the last."""
    return f"{policy_chain}/{'-'.join(str(rule) for rule in rules if rule is not None)}.{_digest(content)}"


def group_chain(group: GroupId, gate: str, family: int) -> str:
    return f"{gate}{family}/group/{_plain(group)}"


def way_in(group: GroupId, gate: str, family: int) -> str:
    """The chain by which packets of that family come to the group."""
    return f"{gate}/group/{_plain(group)}" if gate in BY_INTERFACE else group_chain(group, gate, family)


def stage_chain(group: GroupId, gate: str, family: int, stage: int) -> str:
    return f"{group_chain(group, gate, family)}/{stage}"


def host_set(set_id: SetId, family: int) -> str:
    return f"set-{_plain(set_id)}-{family}"


def net_set(set_id: SetId, family: int) -> str:
    return f"set-{_plain(set_id)}-{family}-nets"


def is_net_set(name: str) -> bool:
    return name.endswith("-nets")


def port_set(set_id: SetId, family: int) -> str:
    return f"ports-{_plain(set_id)}-{family}"


def usable_interface(name: str) -> bool:
    """Can nft name this interface, and no other? Linux allows `*` and quotes in names; nft reads more into them."""
    return _INTERFACE.fullmatch(name) is not None


def prefixes(settings: Settings) -> tuple[str, ...]:
    """What the names of workload interfaces begin with: one prefix, or several with commas between them."""
    return tuple(part for part in settings.interface_prefix.split(",") if usable_interface(part))


def comment(origin: Origin, last: int | None = None) -> str:
    """`NetworkPolicy/shop/allow-web ingress 0`, with the note of a stand-in behind it where it fits; `... 0-4` where
    `last` is the number of the last rule."""
    place = "/".join(part for part in (origin.kind, origin.namespace, origin.name) if part)
    rule = "" if origin.rule is None else f" {origin.rule}" if last in (None, origin.rule) else f" {origin.rule}-{last}"
    tail = f" {origin.direction}{rule}"
    text = _shortened(place, COMMENT_LIMIT - len(tail)) + tail
    return printable(f"{text}: {origin.note}" if origin.note else text, COMMENT_LIMIT)


def printable(text: str, limit: int) -> str:
    """The text as nft can quote it: no quotes, no variables, no escapes, no line ends, at most `limit` bytes."""
    plain = _UNPRINTABLE.sub("?", text).replace('"', "'").replace("$", "?").replace("\\", "/")
    return plain[:limit]


def _plain(text: str) -> str:
    if _NAME.fullmatch(text) and len(text) <= NAME_LIMIT:
        return text
    return f"{_STRANGE.sub('_', text)[: NAME_LIMIT - 17]}.{_digest(text)}"


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 10]}..{_digest(text)[:8]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
