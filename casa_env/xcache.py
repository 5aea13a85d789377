"""Where to read a file from here: through the site's caches, then from its origin.

Pure: URLs and filesets in, URLs and filesets out. Nothing is connected to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from casa_env.network import host_and_port
from casa_env.settings import Settings, load_settings

__all__ = ["SCHEME", "host_of", "sources", "xcache_fileset", "xcache_url"]

#: URLs of several sources, in the order in which they are tried.
SCHEME: Final = "failover://"

#: Stands between the sources; no URL has this character unescaped (RFC 3986).
SEPARATOR: Final = "|"

#: What an XRootD cache can be asked for.
_XROOTD: Final = ("root", "xroot")

#: What our file system can read, besides.
_REMOTE: Final = (*_XROOTD, "https", "s3")

_T = TypeVar("_T")

_Here: TypeAlias = Callable[[str], str]


def xcache_url(
    url: str, settings: Settings | None = None, *, failover: bool = False
) -> str:
    """Return where to read a file here.

    On a laptop and on Binder that is its origin: the URL is unchanged. At a facility
    with an XRootD cache it is the cache's URL of the same file.

    Parameters
    ----------
    url
        The origin, such as ``root://origin.example.org//store/f.root``. Local paths
        and other schemes are returned as they are.
    settings
        Settings to use; by default those of this place.
    failover
        Return a URL that names all sources, cache, further caches, origin, for
        `fsspec` and what builds on it, such as uproot and coffea: reading then
        survives a cache that is down, and tokens go to the site's own hosts only.

    Returns
    -------
    str
        The URL; the same again if that is passed in.

    Notes
    -----
    A forwarding cache is asked for ``root://cache//root://origin//path``, a cache with
    a fixed origin for ``root://cache//path`` (XRootD proxy storage service manual,
    ``pss.origin``). ``https://`` origins are read through the cache only if
    ``xcache_https_origins`` lists them, because not every such server speaks XRootD
    on the same port.

    Examples
    --------
    >>> settings = Settings(xcache_url="root://cache:1094")
    >>> xcache_url("root://origin//store/f.root", settings)
    'root://cache:1094//root://origin//store/f.root'
    >>> xcache_url("data/f.root", settings)
    'data/f.root'
    """
    settings = settings or load_settings()
    if url.startswith(SCHEME) or SEPARATOR in url:
        return url
    caches = _caches(settings)
    through = [_through(cache, url, settings) for cache in caches]
    cached = [candidate for candidate in through if candidate]
    if not failover:
        return cached[0] if cached else url
    if not cached and not _ours(url, settings):
        return url
    return SCHEME + SEPARATOR.join([*dict.fromkeys([*cached, url])])


def sources(url: str) -> tuple[str, ...]:
    """Return the sources that a URL names, in the order in which they are tried.

    Parameters
    ----------
    url
        A URL as `xcache_url` makes it, or any other.

    Examples
    --------
    >>> sources("failover://root://cache//root://origin//f.root|root://origin//f.root")
    ('root://cache//root://origin//f.root', 'root://origin//f.root')
    """
    return tuple(url.removeprefix(SCHEME).split(SEPARATOR))


def host_of(url: str) -> str:
    """Return a source's host and port for reports, its bucket, or what it is.

    Parameters
    ----------
    url
        Where a file is.
    """
    if "://" not in url:
        return "this machine"
    target = host_and_port(url.replace("xroot://", "root://", 1))
    if target is not None:
        return f"{target[0]}:{target[1]}"
    scheme, rest = url.split("://", 1)
    return f"{scheme}://{rest.partition('/')[0]}"


def xcache_fileset(
    fileset: _T, settings: Settings | None = None, *, failover: bool = False
) -> _T:
    """Return a fileset whose files are read where it is best here.

    On a laptop and on Binder it is equal to what was passed in. At a facility each
    file is replaced as `xcache_url` says.

    Parameters
    ----------
    fileset
        Any shape that coffea takes: datasets of lists of files, of ``{file: tree}``,
        of ``{"files": ..., "treename": ..., "metadata": ...}``, of files with
        ``{"object_path": ..., "steps": ...}``, coffea's own ``DatasetSpec`` and
        ``DataGroupSpec``, and work items. It is not changed. Where a dataset has other
        mappings by file, such as event counts, these follow.
    settings
        Settings to use; by default those of this place.
    failover
        As for `xcache_url`.

    Returns
    -------
    fileset
        A new one of the same shape.

    Examples
    --------
    >>> settings = Settings(xcache_url="root://cache", xcache_mode="fixed")
    >>> xcache_fileset({"ttbar": ["root://origin//store/f.root"]}, settings)
    {'ttbar': ['root://cache//store/f.root']}
    """
    settings = settings or load_settings()

    def here(url: str) -> str:
        return xcache_url(url, settings, failover=failover)

    return cast("_T", _replaced(fileset, here))


def _replaced(read: Any, here: _Here) -> Any:  # noqa: ANN401 - several shapes
    """Return a fileset with its files replaced."""
    if isinstance(read, list | tuple):  # work items
        return type(read)(_work_item(item, here) for item in read)
    if hasattr(read, "model_dump"):  # coffea's DataGroupSpec, a pydantic model
        new = {name: _spec(dataset, here) for name, dataset in read.items()}
        return type(read)(new)
    if not isinstance(read, Mapping):
        return read  # a path to a JSON file, which only coffea reads
    return {name: _dataset(dataset, here) for name, dataset in read.items()}


def _caches(settings: Settings) -> list[str]:
    """Return the caches, the one to try first first."""
    named = [settings.xcache_url, *settings.xcache_fallbacks]
    return [url.rstrip("/") for url in named if url.strip("/")]


def _through(cache: str, url: str, settings: Settings) -> str:
    """Return a cache's URL of a file, empty if it cannot be read through it."""
    try:
        origin, split = urlsplit(url), urlsplit(cache)
    except ValueError:
        return ""
    if origin.scheme == "https" and _listed(url, settings.xcache_https_origins):
        origin = origin._replace(scheme="root", netloc=_with_port(origin.netloc))
        url = origin.geturl()
    if origin.scheme not in _XROOTD or not origin.netloc:
        return ""
    caches = {host_and_port(each) for each in _caches(settings)}
    if host_and_port(url) in caches or split.scheme not in _XROOTD:
        return ""  # it is a cache's URL already
    if settings.xcache_mode == "forwarding":
        return f"{cache}//{url}"
    path = url.removeprefix(f"{origin.scheme}://{origin.netloc}").lstrip("/")
    return f"{cache}//{path}"


def _with_port(netloc: str) -> str:
    """Return host and port of an https URL: 443 must be said where XRootD is meant."""
    name = netloc.rpartition("@")[2]
    return name if name.rpartition(":")[2].isdigit() else f"{name}:443"


def _listed(url: str, listed: tuple[str, ...]) -> bool:
    """Tell whether a URL's host is listed, as ``host`` or ``host:port``."""
    target = host_and_port(url)
    if target is None:
        return False
    host, port = target
    return any(entry in {host, f"{host}:{port}"} for entry in listed)


def _ours(url: str, settings: Settings) -> bool:
    """Tell whether our file system is to read a URL that no cache has.

    It is where the site's settings say something about how: a token for some hosts
    and for no others, certificate authorities, an endpoint.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in _REMOTE:
        return False
    if scheme == "s3":
        return bool(settings.s3_endpoint)
    return bool(settings.token_hosts or settings.x509_ca_dir or _caches(settings))


def _dataset(dataset: Any, here: _Here) -> Any:  # noqa: ANN401 - several shapes
    """Return a dataset with its files replaced."""
    if isinstance(dataset, list | tuple):
        return [here(file) for file in dataset]
    if hasattr(dataset, "model_dump"):
        return _spec(dataset, here)
    if not isinstance(dataset, Mapping):
        return dataset
    if "files" not in dataset:
        return {here(file): tree for file, tree in dataset.items()}
    files = dataset["files"]
    names = set(files)
    new = {}
    for key, value in dataset.items():
        if key == "files" and not isinstance(value, Mapping):
            new[key] = type(value)(here(file) for file in value)
        elif isinstance(value, Mapping) and value and set(value) <= names:
            new[key] = {here(file): content for file, content in value.items()}
        else:
            new[key] = value
    return new


def _spec(dataset: Any, here: _Here) -> Any:  # noqa: ANN401 - a pydantic model
    """Return coffea's own description of a dataset, with its files replaced."""
    content = dataset.model_dump()
    content["files"] = {here(f): about for f, about in content["files"].items()}
    return type(dataset)(**content)


def _work_item(item: Any, here: _Here) -> Any:  # noqa: ANN401 - coffea's
    """Return one of coffea's work items, with its file replaced."""
    return dataclasses.replace(item, filename=here(item.filename))
