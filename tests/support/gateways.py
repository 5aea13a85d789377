"""What stands before a server at a facility: TLS, and nobody in without a token."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import requests

from support.certificates import Certificate
from support.processes import free_port

#: Headers that belong to one connection.
HOP_BY_HOP = {"connection", "content-encoding", "content-length", "transfer-encoding"}


@dataclass
class Gateway:
    """A gateway that is running."""

    url: str
    accepted: set[str]
    seen: list[str] = field(default_factory=list)
    """The authorization of every request, in order."""

    def admits(self, authorization: str) -> bool:
        self.seen.append(authorization)
        return authorization in {f"Bearer {token}" for token in self.accepted}


@contextlib.contextmanager
def http_gateway(
    target: str, *tokens: str, certificate: Certificate | None = None
) -> Iterator[Gateway]:
    """Pass requests with one of the tokens on to a server; refuse all others."""
    scheme = "https" if certificate else "http"
    gateway = Gateway("", set(tokens))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not gateway.admits(self.headers.get("Authorization", "")):
                self.answer(401, {"WWW-Authenticate": "Bearer"}, b"no valid token")
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            passed = requests.request(
                self.command,
                target + self.path,
                headers=headers,
                data=body,
                timeout=120,
                allow_redirects=False,
            )
            self.answer(passed.status_code, dict(passed.headers), passed.content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

        def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Say nothing of clients that break off: some tests make them."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    gateway.url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextlib.contextmanager
def grpc_gateway(
    target: str, *tokens: str, certificate: Certificate
) -> Iterator[Gateway]:
    """Do the same for gRPC: messages pass as they are."""
    port = free_port()
    gateway = Gateway(f"grpcs://127.0.0.1:{port}", set(tokens))
    unlimited = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
    ]
    channel = grpc.insecure_channel(target.partition("://")[2], options=unlimited)

    class Pass(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            authorization = dict(details.invocation_metadata).get("authorization", "")
            admitted = gateway.admits(authorization)
            call = channel.unary_unary(details.method)

            def handle(request: bytes, context: Any) -> bytes:
                if not admitted:
                    context.abort(grpc.StatusCode.UNAUTHENTICATED, "no valid token")
                try:
                    answer: bytes = call(request, timeout=120)
                except grpc.RpcError as err:
                    context.abort(err.code(), err.details())
                return answer

            return grpc.unary_unary_rpc_method_handler(handle)

    server = grpc.server(ThreadPoolExecutor(4), (Pass(),), options=unlimited)
    pair = (certificate.key.read_bytes(), certificate.cert.read_bytes())
    server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([pair]))
    server.start()
    try:
        yield gateway
    finally:
        server.stop(None).wait(10)
        channel.close()
