"""The Kubernetes API, as far as one GET of a pod goes: `python podsapi.py FILE` serves the pods of a JSON file by name.

A process, because it must live in the namespace of the agent that asks. Prints its port. Wants `Bearer secret`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar


class Pods(BaseHTTPRequestHandler):
    pods: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        pod = self.pods.get(self.path.removeprefix("/api/v1/namespaces/").replace("/pods/", "/"))
        code = 401 if self.headers.get("Authorization") != "Bearer secret" else 200 if pod else 404
        body = json.dumps(pod if code == 200 else {"kind": "Status", "code": code}).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def api_in(space: str, directory: Path, pods: dict[str, Any]) -> Iterator[str]:
    """A kubeconfig for an API with these pods (by namespace/name) in that namespace."""
    file, kubeconfig = directory / "pods.json", directory / "kubeconfig"
    file.write_text(json.dumps(pods))
    with subprocess.Popen(["ip", "netns", "exec", space, sys.executable, __file__, str(file)],
                          stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            kubeconfig.write_text(json.dumps({
                "current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {"token": "secret"}}],
            }))
            yield str(kubeconfig)
        finally:
            process.kill()


if __name__ == "__main__":
    Pods.pods = json.loads(Path(sys.argv[1]).read_text())
    with ThreadingHTTPServer(("127.0.0.1", 0), Pods) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
