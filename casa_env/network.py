"""Does anybody listen there: one connection attempt, in a bounded time."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Final
from urllib.parse import urlsplit

__all__ = ["host_and_port", "is_loopback", "tcp_problem", "xrootd_problem"]

#: The ports of URLs that name none.
DEFAULT_PORTS: Final = {
    "grpc": 8001,
    "grpcs": 8001,
    "http": 80,
    "https": 443,
    "root": 1094,
    "roots": 1094,
    "tcp": 8786,
    "tls": 8786,
}


def host_and_port(url: str) -> tuple[str, int] | None:
    """Return the host and the port of a URL.

    Parameters
    ----------
    url
        A URL such as ``root://cache.example.org:1094``.

    Returns
    -------
    tuple or None
        Host and port; ``None`` if the URL names no host, or no port and a scheme
        without a usual one.

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


def tcp_problem(host: str, port: int, *, timeout: float) -> str:
    """Connect once and hang up.

    Parameters
    ----------
    host
        A host name or an address.
    port
        A TCP port.
    timeout
        How long to wait, in seconds.

    Returns
    -------
    str
        What went wrong, in a few words; empty if something accepted the connection.
    """
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
    """Say hello as XRootD's clients do, and hang up.

    Parameters
    ----------
    host
        A host name or an address.
    port
        A TCP port.
    timeout
        How long to wait, in seconds.

    Returns
    -------
    str
        What went wrong, in a few words; empty if an XRootD server answered.

    Notes
    -----
    The client begins with five numbers, and the server answers with eight bytes of a
    header before it says more (XRootD Protocol Specification 5.1, "Initial
    Handshake").
    """
    problem = tcp_problem(host, port, timeout=timeout)
    if problem:
        return problem
    silent = "accepts connections, but does not speak XRootD"
    try:
        with socket.create_connection((host, port), timeout) as client:
            client.settimeout(timeout)
            client.sendall(struct.pack(">5i", 0, 0, 0, 4, 2012))
            header = client.recv(8)
    except OSError:
        return silent
    return "" if header == struct.pack(">hhi", 0, 0, 8) else silent


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, so that nothing of it leaves here.

    Parameters
    ----------
    host
        A host name or an address, as in a URL.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("example.org")
    (True, True, False)
    """
    import ipaddress

    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
