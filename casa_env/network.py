"""Hosts and ports of URLs, and one connection attempt in a bounded time."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import MutableMapping
from typing import Final
from urllib.parse import urlsplit

#: The ports of URLs that name none; of Triton's two, the one of the scheme.
DEFAULT_PORTS: Final = {
    "http": 80,
    "https": 443,
    "grpc": 8001,
    "grpcs": 8001,
    "root": 1094,
    "roots": 1094,
    "xroot": 1094,
    "xroots": 1094,
    "tcp": 8786,
    "tls": 8786,
}

_PROXIES: Final = {f"{kind}_proxy" for kind in ("all", "grpc", "http", "https")}


def host_and_port(url: str) -> tuple[str, int] | None:
    """Return host and port of a URL; none where it names no host, or no known port.

    Examples
    --------
    >>> host_and_port("https://mlflow.example.org/x"), host_and_port("sqlite:///x.db")
    (('mlflow.example.org', 443), None)
    """
    with contextlib.suppress(ValueError):  # a port that is no number
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
        if parts.hostname and port:
            return parts.hostname, port
    return None


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, so that nothing of it leaves here."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def spare_loopback(environ: MutableMapping[str, str]) -> None:
    """Let no proxy of these variables stand between this machine and itself.

    Whichever library asks (requests, urllib, gRPC, botocore): all read ``no_proxy``.
    """
    if not any(environ.get(name) for name in environ if name.lower() in _PROXIES):
        return
    spared = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    if "*" not in spared and "127.0.0.1,::1" not in spared:
        spared = ",".join(filter(None, (spared, "localhost,127.0.0.1,::1")))
        environ["no_proxy"] = environ["NO_PROXY"] = spared


def proxy_for(url: str) -> str:
    """Return the proxy that the environment names for a URL, empty for none."""
    from urllib.request import getproxies, proxy_bypass

    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all", "")
    return "" if proxy_bypass(parts.hostname or "localhost") else proxy


def tcp_problem(host: str, port: int, *, timeout: float) -> str:
    """Connect once and hang up; return what went wrong, empty if nothing did."""
    try:
        with socket.create_connection((host, port), timeout):
            return ""
    except TimeoutError:
        return f"no answer from {host} port {port} within {timeout:g} s"
    except socket.gaierror as err:
        return f"the host name {host} is not known ({err.strerror})"
    except (OSError, OverflowError) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else err
        return f"{host} port {port}: {str(reason).lower()}"


def xrootd_problem(host: str, port: int, *, timeout: float) -> str:
    """Say hello as XRootD's clients do; return what went wrong, empty for nothing.

    Five numbers are answered by eight bytes of a header (XRootD Protocol Specification
    5.1, "Initial Handshake").
    """
    if problem := tcp_problem(host, port, timeout=timeout):
        return problem
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host, port), timeout) as client,
    ):
        client.sendall(struct.pack(">5i", 0, 0, 0, 4, 2012))
        if client.recv(8) == struct.pack(">hhi", 0, 0, 8):
            return ""
    return "accepts connections, but does not speak XRootD"
