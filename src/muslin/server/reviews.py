"""`kubectl auth can-i`: whoever reaches this server may do everything.

The door is the listener: a unix socket that only root can open, or TLS with a client certificate. Roles come with a
later issue; until then the answer is the plain truth.
"""

from __future__ import annotations

from aiohttp import web

from muslin.server.bodies import read_object
from muslin.server.requests import answer


def routes() -> list[web.RouteDef]:
    return [web.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)]


async def review(request: web.Request) -> web.Response:
    body = await read_object(request)
    status = {"allowed": True, "reason": "whoever is let in may do everything"}
    about = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    return answer({**body, **about, "status": status}, 201)
