"""What the API is, for clients that ask before they act: versions, groups, resources.

Two spellings of the same: the old one (a document for each group) and the aggregated one (all in two), which newer
clients ask for by Accept. kubectl takes a name that two groups share from the group that comes first, so ours do.
"""

from __future__ import annotations

import platform

import msgspec
from aiohttp import web

import muslin
from muslin.server import served
from muslin.server.refusals import Json, unknown_path
from muslin.server.requests import answer
from muslin.server.served import Served

KUBERNETES = ("1", "32")
"""kubectl warns when this is further than one minor version from its own."""
AGGREGATED = ("v2", "v2beta1")

_REVIEWS = ("authorization.k8s.io", "v1")
_DEFINITIONS = "apiextensions.k8s.io/v1"


def routes() -> list[web.RouteDef]:
    return [
        web.get("/version", version), web.get("/version/", version),
        web.get("/api", core), web.get("/api/", core), web.get("/api/v1", resources), web.get("/api/v1/", resources),
        web.get("/apis", groups), web.get("/apis/", groups),
        web.get(f"/apis/{_DEFINITIONS}/customresourcedefinitions", definitions),
        web.get("/apis/{group}", group), web.get("/apis/{group}/", group),
        web.get("/apis/{group}/{version}", resources), web.get("/apis/{group}/{version}/", resources),
    ]


async def version(_: web.Request) -> web.Response:
    major, minor = KUBERNETES
    return answer({
        "major": major, "minor": minor, "gitVersion": f"v{major}.{minor}.0+muslin.{muslin.__version__}",
        "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "",
        "compiler": platform.python_implementation(), "platform": f"linux/{platform.machine()}",
    })


async def core(request: web.Request) -> web.Response:
    if wanted := _aggregated(request):
        return _answer_aggregated(wanted, [""])
    return answer({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})


async def groups(request: web.Request) -> web.Response:
    names = list(dict.fromkeys(name for name, _ in served.group_versions() if name))
    if wanted := _aggregated(request):
        return _answer_aggregated(wanted, names)
    listed = [_group(name) for name in [*names, _REVIEWS[0]]]
    return answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})


async def group(request: web.Request) -> web.Response:
    name = request.match_info["group"]
    if name not in {known for known, _ in (*served.group_versions(), _REVIEWS) if known}:
        raise unknown_path()
    return answer({"kind": "APIGroup", "apiVersion": "v1", **_group(name)})


async def resources(request: web.Request) -> web.Response:
    pair = (request.match_info.get("group", ""), request.match_info.get("version", "v1"))
    if pair == _REVIEWS:
        listed = [{"name": f"{kind.lower()}s", "singularName": kind.lower(), "namespaced": False, "kind": kind,
                   "verbs": ["create"]} for kind in ("SelfSubjectAccessReview", "SelfSubjectRulesReview")]
    elif found := served.of(*pair):
        listed = [_resource(one) for one in found]
    else:
        raise unknown_path()
    version = "/".join(part for part in pair if part)
    return answer({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": listed})


async def definitions(_: web.Request) -> web.Response:
    """No kind is defined by a user. kubectl asks this of a kind that it does not know, before it says so."""
    return answer({"kind": "CustomResourceDefinitionList", "apiVersion": _DEFINITIONS, "metadata": {}, "items": []})


def _group(name: str) -> Json:
    versions = [
        {"groupVersion": f"{name}/{version}", "version": version}
        for group, version in (*served.group_versions(), _REVIEWS) if group == name
    ]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _resource(one: Served) -> Json:
    resource = {"name": one.plural, "singularName": one.singular, "namespaced": one.namespaced, "kind": one.name,
                "verbs": list(served.VERBS)}
    return {**resource, **_names(one)}


def _names(one: Served) -> Json:
    names = {"shortNames": list(one.short), "categories": list(one.categories)}
    return {name: values for name, values in names.items() if values}


def _aggregated(request: web.Request) -> str:
    """The version of the aggregated form that the client likes best, "" when it does not know it."""
    accept = request.headers.get("Accept", "").replace(" ", "")
    for version in AGGREGATED:
        if any(f";v={version};" in part + ";" and "as=APIGroupDiscoveryList" in part for part in accept.split(",")):
            return version
    return ""


def _answer_aggregated(version: str, names: list[str]) -> web.Response:
    body = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {},
            "items": [_aggregated_group(name) for name in names]}
    kind = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    return web.Response(body=msgspec.json.encode(body), headers={"Content-Type": kind})


def _aggregated_group(name: str) -> Json:
    versions = [
        {"version": version, "freshness": "Current", "resources": [_aggregated_resource(one) for one in served.of(
            group, version)]}
        for group, version in served.group_versions() if group == name
    ]
    return {"metadata": {"name": name, "creationTimestamp": None}, "versions": versions}


def _aggregated_resource(one: Served) -> Json:
    return {
        "resource": one.plural, "responseKind": {"group": one.group, "version": one.version, "kind": one.name},
        "scope": "Namespaced" if one.namespaced else "Cluster", "singularResource": one.singular,
        "verbs": list(served.VERBS), **_names(one),
    }
