"""A STAND-IN for ServiceX: as much of its REST interface as its client 3.3.1 uses.

The service itself needs Kubernetes. This one reads the files that it is asked for with
uproot, applies the query itself, and puts the result where the client gets it: into an
object store, in a bucket named like the request.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import uproot

from support.stores import KEY, SECRET, Store
from support.tokens import Issuer
from support.webservers import Quiet, website

#: Functions that uproot-raw queries may use, over the objects of an event.
FUNCTIONS = {
    "sum": lambda values: ak.sum(values, axis=1),
    "any": lambda values: ak.any(values, axis=1),
    "abs": abs,
}


@dataclass
class ServiceX:
    """What it was asked, and how it judges who asks."""

    store: Store
    refresh_token: str
    access_token: str
    url: str = ""
    requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    authorizations: list[str] = field(default_factory=list)

    def transform(self, request_id: str) -> None:
        """Do what a request asks for."""
        asked = self.requests[request_id]
        (query,) = json.loads(asked["selection"])
        bucket = self.store.folder / request_id
        bucket.mkdir()
        for number, file in enumerate(asked["file-list"]):
            with uproot.open({file: query["treename"]}) as tree:
                arrays = tree.arrays(query["filter_name"])
            columns = {name: arrays[name] for name in arrays.fields}
            scope = {"__builtins__": {}, **FUNCTIONS, **columns}
            kept = arrays[eval(query["cut"], scope)]  # noqa: S307 - the query of a test
            with uproot.recreate(bucket / f"part-{number}.root") as written:
                flat = {name: ak.to_packed(kept[name]) for name in kept.fields}
                written.mktree(query["treename"], {n: a.type for n, a in flat.items()})
                written[query["treename"]].extend(flat)

    def status(self, request_id: str) -> dict[str, Any]:
        """Return what the client wants to know of a request."""
        asked = self.requests[request_id]
        n = len(asked["file-list"])
        return {
            "request_id": request_id,
            "did": "File List Provided in Request",
            "did_id": 1,
            "title": asked.get("title"),
            "selection": asked["selection"],
            "tree-name": None,
            "image": "stand-in",
            "result-destination": asked["result-destination"],
            "result-format": asked["result-format"],
            "generated-code-cm": "none",
            "status": "Complete",
            "app-version": "stand-in",
            "files": n,
            "files-completed": n,
            "files-failed": 0,
            "files-remaining": 0,
            "submit-time": "2026-01-01T00:00:00.000000Z",
            "finish-time": "2026-01-01T00:00:01.000000Z",
            "minio-endpoint": self.store.host,
            "minio-secured": False,
            "minio-access-key": KEY,
            "minio-secret-key": SECRET,
        }


@contextlib.contextmanager
def servicex_standin(store: Store) -> Iterator[ServiceX]:  # noqa: C901 - one handler
    """Run the stand-in while the block lasts."""
    service = ServiceX(store, f"refresh-{uuid.uuid4().hex}", _jwt())
    lock = threading.Lock()

    class Handler(Quiet):
        def _reply(self, content: object, status: int = 200) -> None:
            text = json.dumps(content).encode()
            self.answer(status, text, Content_Type="application/json")

        def _known(self, token: str) -> bool:
            sent = self.headers.get("Authorization", "")
            service.authorizations.append(sent)
            if sent == f"Bearer {token}":
                return True
            self._reply({"message": "not known"}, 401)
            return False

        def _body(self) -> dict[str, Any]:
            length = int(self.headers.get("Content-Length") or 0)
            found: dict[str, Any] = json.loads(self.rfile.read(length) or b"{}")
            return found

        def do_POST(self) -> None:  # noqa: N802 - http.server's names
            body = self._body()
            if self.path == "/token/refresh":
                if self._known(service.refresh_token):
                    self._reply({"access_token": service.access_token})
            elif self._known(service.access_token):
                request_id = str(uuid.uuid4())
                with lock:
                    service.requests[request_id] = body
                    service.transform(request_id)
                self._reply({"request_id": request_id})

        def do_GET(self) -> None:  # noqa: N802
            if not self._known(service.access_token):
                return
            if self.path == "/servicex":
                about = {"app-version": "stand-in", "capabilities": []}
                self._reply(about | {"code-gen-image": {"uproot-raw": "stand-in"}})
                return
            request_id = self.path.rpartition("/")[2]
            if request_id in service.requests:
                self._reply(service.status(request_id))
            else:
                self._reply({"message": "no such request"}, 404)

    with website(Handler) as url:
        service.url = url
        yield service


def _jwt() -> str:
    """Return an access token: the client looks when it expires."""
    return Issuer("https://servicex.example.org").token()
