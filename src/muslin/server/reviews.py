"""`kubectl auth can-i`, also with `--list`: whoever reaches this server may do everything.

The door is the listener: a unix socket that only root can open, or TLS with a client certificate. Roles come with a
later issue; until then the answer is the plain truth.
"""

from __future__ import annotations

from aiohttp import web

from muslin.server.bodies import read_object
from muslin.server.requests import answer

_GROUP = "authorization.k8s.io/v1"


def routes() -> list[web.RouteDef]:
    return [web.post(f"/apis/{_GROUP}/selfsubjectaccessreviews", review),
            web.post(f"/apis/{_GROUP}/selfsubjectrulesreviews", rules)]


async def review(request: web.Request) -> web.Response:
    body = await read_object(request)
    status = {"allowed": True, "reason": "whoever is let in may do everything"}
    about = {"apiVersion": _GROUP, "kind": "SelfSubjectAccessReview"}
    return answer({**body, **about, "status": status}, 201)


async def rules(request: web.Request) -> web.Response:
    body = await read_object(request)
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    paths = {"verbs": ["*"], "nonResourceURLs": ["*"]}
    status = {"resourceRules": [everything], "nonResourceRules": [paths], "incomplete": False}
    return answer({**body, "apiVersion": _GROUP, "kind": "SelfSubjectRulesReview", "status": status}, 201)
