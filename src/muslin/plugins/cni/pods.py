"""A pod's labels and annotations, from the Kubernetes API that a kubeconfig names.

Runtimes say a pod's name and no more. Policy needs its labels before the first packet, so they are read while the
container waits: one GET. Without a kubeconfig a pod has the labels of its network configuration.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import yaml

from muslin.plugins.cni.call import Kubernetes
from muslin.plugins.cni.faults import Code, Fault

_INHERITED = ("cni.projectcalico.org/ipv4pools", "cni.projectcalico.org/ipv6pools")
_TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=3)


@dataclass(frozen=True, slots=True)
class Pod:
    """`ports`: its containers' named ports, as WorkloadEndpoint.spec.ports."""

    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    service_account: str = ""
    ports: tuple[dict[str, Any], ...] = ()


NOBODY = Pod()


async def read(source: Kubernetes, namespace: str, name: str) -> Pod:
    """With the pools of its namespace, where it names none itself. Raises Fault: the runtime then tries again, or shows
    why not."""
    access = _access(source)
    path = f"/api/v1/namespaces/{namespace}"
    async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=access.headers) as session:
        pod, around = await asyncio.gather(_get(session, access, f"{path}/pods/{name}"), _get(session, access, path))
    if pod is None:
        raise Fault(Code.UNKNOWN_CONTAINER, f"pod {namespace}/{name} is not in {access.server}")
    found, above = pod_of(pod), pod_of(around or {}).annotations
    return replace(found, annotations={key: above[key] for key in _INHERITED if key in above} | found.annotations)


async def _get(session: aiohttp.ClientSession, access: _Access, path: str) -> dict[str, Any] | None:
    """None: there is none. Raises Fault."""
    url = f"{access.server}{path}"
    try:
        async with session.get(url, ssl=access.tls) as answer:
            status, body = answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Fault(Code.TRY_AGAIN, f"{url}: {error or type(error).__name__}",
                    "kubernetes.kubeconfig of the network configuration says whom to ask") from None
    if status == HTTPStatus.NOT_FOUND:
        return None
    try:
        if status == HTTPStatus.OK:
            return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fault(Code.TRY_AGAIN, f"{url} answered what is no object: {error}") from None
    raise Fault(Code.TRY_AGAIN, f"{url} answered {status}", body[:300].decode(errors="replace"))


def pod_of(document: dict[str, Any]) -> Pod:
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    ports = tuple(
        {"name": port["name"], "protocol": port.get("protocol") or "TCP", "port": port["containerPort"]}
        for container in spec.get("containers") or () for port in container.get("ports") or () if port.get("name")
    )
    return Pod(labels=dict(metadata.get("labels") or {}), annotations=dict(metadata.get("annotations") or {}),
               service_account=str(spec.get("serviceAccountName") or ""), ports=ports)


@dataclass(frozen=True, slots=True)
class _Access:
    server: str
    headers: dict[str, str]
    tls: ssl.SSLContext | bool


def _access(source: Kubernetes) -> _Access:
    if not source.kubeconfig:
        return _Access(source.k8s_api_root.rstrip("/").removesuffix("/api/v1"), {}, True)
    path = Path(source.kubeconfig)
    try:
        document = yaml.safe_load(path.read_text())
        context = _named(document["contexts"], document["current-context"])["context"]
        cluster = _named(document["clusters"], context["cluster"])["cluster"]
        user = _named(document["users"], context["user"])["user"] or {}
        server = str(source.k8s_api_root or cluster["server"]).rstrip("/")
        return _Access(server, _headers(user), _tls(cluster, user) if server.startswith("https:") else True)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise Fault(Code.CONFIGURATION, f"kubeconfig {path} cannot be used: {type(error).__name__}: {error}") from None


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise ValueError(f"it has no entry {name!r}")


def _headers(user: dict[str, Any]) -> dict[str, str]:
    token = user.get("token") or (Path(user["tokenFile"]).read_text().strip() if user.get("tokenFile") else "")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _tls(cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    authority = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"),
        cadata=base64.b64decode(authority).decode() if authority else None,
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = (_pem(user, name) for name in ("client-certificate", "client-key"))
    if certificate:
        with tempfile.TemporaryDirectory() as directory:
            chain, secret = Path(directory, "certificate"), Path(directory, "key")
            for file, pem in ((chain, certificate), (secret, key)):
                file.touch(mode=0o600)
                file.write_bytes(pem)
            context.load_cert_chain(chain, secret)
    return context


def _pem(user: dict[str, Any], name: str) -> bytes:
    if data := user.get(f"{name}-data"):
        return base64.b64decode(data)
    return Path(user[name]).read_bytes() if user.get(name) else b""
