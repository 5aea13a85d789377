"""Where to read a file from here: through the site's caches, then from its origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from casa_env.errors import require_package
from casa_env.network import host_and_port
from casa_env.settings import Settings, load_settings

#: What an XRootD cache can be asked for; and what `fsspec_failover` can read, besides.
_XROOTD: Final = ("root", "xroot")
_REMOTE: Final = (*_XROOTD, "https", "s3")
#: What only `fsspec_failover` can read: fsspec has no such protocol.
_XROOTD_TLS: Final = ("roots", "xroots")

_T = TypeVar("_T")

#: From a dataset's name and a file's URL to where it is read.
_Change: TypeAlias = Callable[[str, str], str]


def xcache_url(
    url: str, settings: Settings | None = None, *, failover: bool = False
) -> str:
    """Return where to read a file here.

    On a laptop and on Binder that is its origin: the URL is unchanged. At a facility
    with an XRootD cache it is the cache's URL of the same file.

    Parameters
    ----------
    url
        The origin. Local paths and other schemes are returned as they are, and so is
        what this returns.
    settings
        Settings to use; by default those of this place.
    failover
        Return a URL that names all sources, cache, further caches, origin, for
        `fsspec` and what builds on it, such as uproot and coffea: reading then
        survives a cache that is down, and tokens go to the site's own hosts only.

    Notes
    -----
    A forwarding cache is asked for ``root://cache//root://origin//path``, a cache with
    a fixed origin for ``root://cache//path`` (XRootD proxy storage service manual,
    ``pss.origin``). ``https://`` origins are read through the cache only if
    ``xcache_https_origins`` lists them: not every such server speaks XRootD there.

    Examples
    --------
    >>> settings = Settings(xcache_url="root://cache:1094")
    >>> xcache_url("root://origin//store/f.root", settings)
    'root://cache:1094//root://origin//store/f.root'
    >>> xcache_url("data/f.root", settings)
    'data/f.root'
    """
    settings = settings or load_settings()
    if url.startswith("failover://") or "|" in url:
        return url
    through = (_through(cache, url, settings) for cache in _caches(settings))
    cached = [candidate for candidate in through if candidate]
    if not failover:
        return cached[0] if cached else url
    if not cached and not _ours(url, settings):
        return url
    require_package("fsspec-failover", why="Reading with fail-over")
    from fsspec_failover import failover_url

    return failover_url(*dict.fromkeys([*cached, url]))


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
        ``DataGroupSpec``, and work items. It is not changed: a new one of the same
        shape is returned. Other mappings by file, such as event counts, follow.
    settings
        Settings to use; by default those of this place.
    failover
        As for `xcache_url`.

    Examples
    --------
    >>> settings = Settings(xcache_url="root://cache", xcache_mode="fixed")
    >>> xcache_fileset({"ttbar": ["root://origin//store/f.root"]}, settings)
    {'ttbar': ['root://cache//store/f.root']}
    """
    settings = settings or load_settings()

    def here(_dataset: str, url: str) -> str:
        return xcache_url(url, settings, failover=failover)

    return cast("_T", _walked(fileset, here))


def files_of(fileset: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - coffea's shapes
    """Return each file of a fileset of any shape, with its dataset's name."""
    found: list[tuple[str, str]] = []

    def note(dataset: str, url: str) -> str:
        found.append((dataset, url))
        return url

    _walked(fileset, note)
    return found


def _walked(fileset: Any, change: _Change) -> Any:  # noqa: ANN401 - coffea's shapes
    """Return a fileset with each file changed: the one place that knows its shapes."""
    if isinstance(fileset, list | tuple):  # URLs, or coffea's work items
        return type(fileset)(
            change("", item)
            if isinstance(item, str)
            else replace(item, filename=change(item.dataset, item.filename))
            for item in fileset
        )
    spec = hasattr(fileset, "model_dump")  # coffea's own, a pydantic model
    if not spec and not isinstance(fileset, Mapping):
        return fileset  # a path to a JSON file, which only coffea reads
    new = {
        name: _walked_dataset(dataset, partial(change, name))
        for name, dataset in fileset.items()
    }
    return type(fileset)(new) if spec else new


def _walked_dataset(dataset: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - coffea's shapes
    """Return a dataset with each file changed, and what it says of files by name."""
    if isinstance(dataset, list | tuple):
        return [change(file) for file in dataset]
    if hasattr(dataset, "model_dump"):
        return type(dataset)(**_walked_dataset(dataset.model_dump(), change))
    if not isinstance(dataset, Mapping):
        return dataset
    if "files" not in dataset:
        return {change(file): tree for file, tree in dataset.items()}
    moved = {file: change(file) for file in dataset["files"]}
    new = {}
    for key, value in dataset.items():
        if isinstance(value, Mapping) and value and set(value) <= set(moved):
            new[key] = {moved[file]: content for file, content in value.items()}
        elif key == "files":
            new[key] = type(value)(moved[file] for file in value)
        else:
            new[key] = value
    return new


def _caches(settings: Settings) -> list[str]:
    """Return the caches, the one to try first first."""
    named = [settings.xcache_url, *settings.xcache_fallbacks]
    return [url.rstrip("/") for url in named if url.strip("/")]


def _through(cache: str, url: str, settings: Settings) -> str:
    """Return a cache's URL of a file, empty if it cannot be read through it."""
    try:
        origin, by = urlsplit(url), urlsplit(cache).scheme
    except ValueError:
        return ""
    host, port = server = host_and_port(url) or ("", 0)
    listed = {host, f"{host}:{port}"} & {*settings.xcache_https_origins}
    if origin.scheme == "https" and host and listed:
        # 443 must be named where XRootD is meant
        name = origin.netloc.rpartition("@")[2] + ("" if origin.port else ":443")
        origin = origin._replace(scheme="root", netloc=name)
        url = origin.geturl()
    if origin.scheme not in _XROOTD or by not in _XROOTD or not origin.netloc:
        return ""
    if server in {host_and_port(each) for each in _caches(settings)}:
        return ""  # it is a cache's URL already
    if settings.xcache_mode == "forwarding":
        return f"{cache}//{url}"
    path = url.removeprefix(f"{origin.scheme}://{origin.netloc}").lstrip("/")
    return f"{cache}//{path}"


def _ours(url: str, settings: Settings) -> bool:
    """Tell whether the site has rules for a URL that no cache has: a token, a key."""
    scheme, separator, _ = url.partition("://")
    if scheme in _XROOTD_TLS:
        return True
    if not separator or scheme not in _REMOTE:
        return False
    if scheme == "s3":
        return bool(settings.s3_endpoint)
    return bool(settings.token_hosts or settings.x509_ca_dir or _caches(settings))


def s3_options(settings: Settings | None = None) -> dict[str, Any]:
    """Return the storage options for ``s3://`` URLs.

    On a laptop and on Binder they are those of `s3fs` itself unless the ecosystem's
    variables or the user's file say otherwise. At a facility they name its endpoint.
    They fit `fsspec.open`, `uproot.open`, `pandas` and `pyarrow` alike, and may hold a
    secret key: do not print them.

    Parameters
    ----------
    settings
        Settings to use; by default those of this place.

    Notes
    -----
    Checksums that S3 added in 2024 are sent and checked only where a request needs
    them: rclone and other stores return none for ranges, or wrong ones (botocore's
    ``request_checksum_calculation``, ``response_checksum_validation``).

    Examples
    --------
    >>> options = s3_options(Settings(s3_endpoint="https://s3.example.org"))
    >>> options["client_kwargs"]["endpoint_url"]
    'https://s3.example.org'
    """
    settings = settings or load_settings()
    config: dict[str, Any] = {
        "connect_timeout": settings.timeout_s,
        "read_timeout": 6 * settings.timeout_s,
        "retries": {"max_attempts": 2},
    }
    if settings.s3_endpoint:
        config |= {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": "path"},  # a facility's store has one host name
        }
    client = {"endpoint_url": settings.s3_endpoint, "region_name": settings.s3_region}
    keys = {"key": settings.s3_access_key, "secret": settings.s3_secret_key}
    if not settings.s3_access_key:
        keys["profile"] = settings.s3_profile
    return {
        "client_kwargs": {name: value for name, value in client.items() if value},
        "config_kwargs": config,
        **{name: value for name, value in keys.items() if value},
    }


def s3_buckets(settings: Settings) -> tuple[int, str]:
    """Ask the store how many buckets our key sees, and return what went wrong."""
    from botocore.exceptions import BotoCoreError
    from s3fs import S3FileSystem

    try:
        system = S3FileSystem(**s3_options(settings), skip_instance_cache=True)
        return len(system.call_s3("list_buckets")["Buckets"]), ""
    except (OSError, BotoCoreError, ValueError) as err:
        error = getattr(err.__cause__, "response", {}).get("Error", {})
        code = error.get("Code", "")
        if code == "AccessDenied" and settings.s3_access_key:
            return 0, ""  # a key that may not list buckets is not wrong
        return 0, f"{code} {error.get('Message', '')}".strip() or str(err)
