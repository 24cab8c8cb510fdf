"""A list, in pages that are together one picture: all at the revision of the first.

The `continue` token says at which revision and after which key the next page begins. It is only text to the client;
one that was made up, or whose revision is compacted meanwhile, is refused in Kubernetes' words.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec

from muslin.server import builtin
from muslin.server.refusals import Json, bad_request, expired
from muslin.server.selection import Predicate
from muslin.server.served import Served
from muslin.server.views import View
from muslin.store import Compacted, Page, Store

CHUNK = 1000
"""So many entries are asked of the store at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """`limit` 0: all. `token`: where the page before ended. `revision`: the picture of then, None for now."""

    limit: int = 0
    token: str = ""
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """`token` is empty when there is no more."""

    items: list[Json]
    revision: int
    token: str = ""

    @property
    def metadata(self) -> Json:
        metadata = {"resourceVersion": str(self.revision)}
        return {**metadata, "continue": self.token} if self.token else metadata


class _Token(msgspec.Struct, forbid_unknown_fields=True):
    revision: int
    after: str


async def listing(
    store: Store, served: Served, view: View, namespace: str, chosen: Predicate, asked: Asked
) -> Listing:
    """Raises Refusal (400, 410)."""
    prefix = view.prefix(namespace)
    revision, after = asked.revision, ""
    if asked.token:
        start = _token(asked.token, prefix)
        revision, after = start.revision, start.after
    items: list[Json] = []
    more = True
    while more:
        page = await _page(store, prefix, revision, after, asked)
        revision, more = page.revision, page.more
        for entry in page.entries:
            obj = view.shown(entry)
            if obj is not None and chosen(obj):
                if asked.limit and len(items) == asked.limit:
                    return Listing(items, revision, _text(_Token(revision, after)))
                items.append(obj)
            after = entry.key
    assert revision is not None
    if served.kind.name == "Profile" and chosen(always := builtin.default_allow()):
        items.append(always)
    return Listing(items, revision)


async def _page(store: Store, prefix: str, revision: int | None, after: str, asked: Asked) -> Page:
    count = min(CHUNK, asked.limit + 1) if asked.limit else CHUNK
    try:
        return await store.list(prefix, revision=revision, limit=count, after=after)
    except Compacted as gone:
        if asked.token:
            raise expired("The provided continue parameter is too old to display a consistent list result. "
                          "You can start a new list without the continue parameter.") from None
        raise expired(f"too old resource version: {gone}") from None


def _text(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def _token(text: str, prefix: str) -> _Token:
    try:
        token = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise bad_request("continue key is not valid: it must be the one that the page before was sent with") from None
    if not token.after.startswith(prefix) or token.revision < 0:
        raise bad_request("continue key is not valid: it belongs to another list")
    return token
