"""Web servers in a thread of the test: an issuer of tokens, and ones that listen."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from support.certificates import Certificate
from support.tokens import Issuer


class Quiet(BaseHTTPRequestHandler):
    """Writes nothing to the test's output."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextlib.contextmanager
def website(
    handler: type[BaseHTTPRequestHandler],
    certificate: Certificate | None = None,
    port: int = 0,
) -> Iterator[str]:
    """Serve while the block lasts; give the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        # the handshake waits until a thread of its own reads
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    scheme = "http" if certificate is None else "https"
    try:
        yield f"{scheme}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def refusing_website(
    status: int,
) -> contextlib.AbstractContextManager[str]:
    """Serve nothing but a status, whatever is asked for."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.answer(status, b"")

        do_HEAD = do_GET  # noqa: N815 - http.server's names

    return website(Handler)


@contextlib.contextmanager
def issuer_website(issuer: Issuer, certificate: Certificate) -> Iterator[str]:
    """Publish an issuer's keys where its URL says (OpenID Connect Discovery)."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            documents: dict[str, Any] = {
                "/.well-known/openid-configuration": {
                    "issuer": issuer.url,
                    "jwks_uri": f"{issuer.url}/jwks",
                },
                "/jwks": issuer.keys(),
            }
            found = documents.get(self.path)
            status = 200 if found else 404
            self.answer(status, json.dumps(found).encode(), Content_Type="text/json")

    port = urlsplit(issuer.url).port or 0
    with website(Handler, certificate, port) as url:
        yield url


@contextlib.contextmanager
def listening_website(
    certificate: Certificate | None = None,
    *,
    content: bytes = b"",
    redirect_to: str = "",
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve a file, or redirect; keep the headers of each request."""
    seen: list[dict[str, str]] = []

    class Handler(Quiet):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            if redirect_to:
                self.answer(302, b"", Location=redirect_to)
                return
            wanted = self.headers.get("Range", "")
            if not wanted:
                self.answer(200, content, Accept_Ranges="bytes")
                return
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            part = content[int(start) : int(end or len(content)) + 1]
            about = f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}"
            self.answer(206, part, Content_Range=about, Accept_Ranges="bytes")

        do_HEAD = do_GET  # noqa: N815 - http.server's names

    with website(Handler, certificate) as url:
        yield url, seen
