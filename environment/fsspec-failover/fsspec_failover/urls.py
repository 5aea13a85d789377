"""URLs of several sources, ``failover://SOURCE|SOURCE``, tried in this order."""

from __future__ import annotations

import contextlib
import re
from typing import Final
from urllib.parse import urlsplit

SCHEME: Final = "failover://"

#: Stands between the sources; no URL has this character unescaped (RFC 3986).
SEPARATOR: Final = "|"

#: The ports of URLs that name none.
_PORTS: Final = {
    "http": 80,
    "https": 443,
    **dict.fromkeys(("root", "roots", "xroot", "xroots"), 1094),
}


def failover_url(*sources: str) -> str:
    """Return the URL of a file that may come from several sources."""
    return SCHEME + SEPARATOR.join(sources)


def sources(url: str) -> tuple[str, ...]:
    """Return the sources that a URL names, in the order in which they are tried.

    Examples
    --------
    >>> sources("failover://root://cache//root://origin//f.root|root://origin//f.root")
    ('root://cache//root://origin//f.root', 'root://origin//f.root')
    """
    return tuple(url.removeprefix(SCHEME).split(SEPARATOR))


def host_of(url: str) -> str:
    """Return a source's host and port for reports, its bucket, or what it is."""
    if "://" not in url:
        return "this machine"
    with contextlib.suppress(ValueError):  # a port that is no number
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
        if parts.hostname and port:
            return f"{parts.hostname}:{port}"
    scheme, rest = url.split("://", 1)
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"


def shown(url: str) -> str:
    """Return a URL without what it may hide: users, passwords and queries."""
    return re.sub(r"\?.*", "?***", re.sub(r"(?<=://)[^/?]*@", "***@", url))
