"""Every setting, one row each: its default, what it means, and who else names it."""

from __future__ import annotations

import difflib
import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from casa_env.errors import SettingsError, redacted
from casa_env.settings.places import SITES

#: Where Dask workers can come from; the last five are batch systems.
BACKENDS: Final = ("local", "join", "gateway", "slurm", "htcondor", "pbs", "lsf", "sge")

#: What C99's ``isspace`` calls white space: no more is taken off a value.
WHITE_SPACE: Final = " \t\n\v\f\r"

#: Decimal and binary units as Dask and Kubernetes write them.
_UNITS: Final = {
    f"{prefix}{unit}": base**power
    for unit, base in (("b", 1000), ("", 1000), ("ib", 1024), ("i", 1024))
    for power, prefix in enumerate(("", "k", "m", "g", "t"))
    if prefix or base == 1000  # noqa: PLR2004 - bytes have no binary form
}


def _row(
    default: object,
    doc: str,
    *variables: str,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:  # noqa: ANN401 - a field stands where a value is declared
    """Declare a setting; a secret is never shown, nor may it stand in a file."""
    about = {"doc": doc, "variables": variables, "choices": choices, "secret": secret}
    return field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True, repr=False)
class Table:
    """The settings there are; the type says how each is read from text or TOML."""

    # fmt: off
    # The place itself.
    profile: str = _row("", "Which [profile.NAME] of the configuration files to use")
    site: str = _row(
        "local", "The kind of site; detected where it is not set", choices=SITES)
    site_name: str = _row("", "What the site calls itself, for reports")
    cpu_limit: float = _row(
        0.0, "Cores this session may use; 0 is no limit", "CPU_LIMIT")
    memory_limit_bytes: int = _row(0, "Memory it may use; 0 is no limit", "MEM_LIMIT")
    timeout_s: float = _row(
        10.0, "How long to wait for a service to answer, in seconds")

    # Dask: where workers come from, and how many of what size.
    dask_backend: str = _row(
        "local", "Where workers come from; join, if there is an address",
        choices=BACKENDS)
    dask_address: str = _row(
        "", "The scheduler to join, tls://host:port", "DASK_SCHEDULER_ADDRESS")
    dask_tls_ca_file: Path | None = _row(
        None, "Certificate authority of that scheduler, PEM",
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE")
    dask_tls_cert: Path | None = _row(None, "Our certificate for it, PEM",
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT")
    dask_tls_key: Path | None = _row(None, "The key of our certificate, PEM",
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY")
    dask_workers: int = _row(0, "Workers to start; 0 is as many as fit")
    dask_max_workers: int = _row(
        0, "Follow the work between dask_workers and this many; 0 is a fixed number")
    dask_worker_threads: int = _row(
        0, "Threads of each worker; 0 is chosen from the cores")
    dask_worker_memory_bytes: int = _row(0, "Memory of each worker; 0 is an even share")
    dask_processes: bool = _row(
        True, "Workers are processes; false is threads in the notebook")
    dask_dashboard: str = _row("127.0.0.1:0",
        'Where the dashboard listens; port 0 is any free one; "" is no dashboard')
    dask_gateway_address: str = _row(
        "", "Dask Gateway's address", "DASK_GATEWAY__ADDRESS")
    dask_gateway_proxy_address: str = _row(
        "", "Dask Gateway's address for schedulers", "DASK_GATEWAY__PROXY_ADDRESS")
    dask_queue: str = _row("", "The batch system's queue or partition for workers")
    dask_account: str = _row("", "The batch system's account or project for workers")
    dask_walltime_s: float = _row(
        3600.0, "How long a worker's batch job may run, in seconds")
    dask_job_directives: tuple[str, ...] = _row(
        (), "More lines for the batch job's header, as the system has them")
    dask_worker_disk_bytes: int = _row(
        4_000_000_000, "Disk of each worker; HTCondor wants to know")
    dask_worker_python: Path | None = _row(
        None, "The Python of batch workers, where it is not this one")
    dask_interface: str = _row(
        "", "The network between workers and scheduler, such as ib0")
    dask_shared_folder: Path | None = _row(
        None, "A folder that batch workers see too: for logs, certificates")
    dask_wait_s: float = _row(
        300.0, "How long to wait for the first worker, in seconds")
    dask_require: str = _row("compatible", "How much workers' packages must be ours",
        choices=("identical", "compatible", "off"))

    # Spark, which has the size and the network of Dask's workers.
    spark_master: str = _row(
        "", "Spark's standalone master, spark://host:port; empty is this machine")
    spark_secret: str = _row("", "What that master and its workers authenticate by",
        "_SPARK_AUTH_SECRET", secret=True)

    # Data: caches, credentials, the object store, ServiceX.
    xcache_url: str = _row("", "The XRootD cache to read through, root://host:port")
    xcache_mode: str = _row(
        "forwarding", "forwarding appends the origin's URL; fixed replaces its host",
        choices=("forwarding", "fixed"))
    xcache_fallbacks: tuple[str, ...] = _row(
        (), "Further caches, tried in this order before the origin")
    xcache_https_origins: tuple[str, ...] = _row(
        (), "host:port of https:// origins that speak XRootD there too: read through "
        "the cache")
    bearer_token: str = _row("", "A WLCG bearer token", "BEARER_TOKEN", secret=True)
    bearer_token_file: Path | None = _row(
        None, "The file that holds the bearer token", "BEARER_TOKEN_FILE")
    hub_token_s: float = _row(0.0,
        "How often JupyterLab fetches that file from the hub, in seconds; 0 is never")
    token_hosts: tuple[str, ...] = _row(
        (), "The only hosts that a token may be sent to: host, host:port or .domain")
    token_audiences: tuple[str, ...] = _row(
        (), "What the site's services accept as a token's audience")
    token_scopes: tuple[str, ...] = _row(
        (), "What a token must allow here, such as storage.read:/")
    x509_proxy: Path | None = _row(None, "The X.509 proxy", "X509_USER_PROXY")
    x509_ca_dir: Path | None = _row(
        None, "The grid's certificate authorities", "X509_CERT_DIR")
    s3_endpoint: str = _row("", "The object store behind s3:// URLs, https://host",
        "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    s3_region: str = _row(
        "", "That object store's region", "AWS_REGION", "AWS_DEFAULT_REGION")
    s3_access_key: str = _row(
        "", "The access key for it", "AWS_ACCESS_KEY_ID", secret=True)
    s3_secret_key: str = _row(
        "", "The secret of that access key", "AWS_SECRET_ACCESS_KEY", secret=True)
    s3_profile: str = _row(
        "", "The profile of ~/.aws/credentials to use", "AWS_PROFILE")
    servicex_endpoint: str = _row("", "The ServiceX server, https://host")
    servicex_token_file: Path | None = _row(
        None, "The file that holds the refresh token of its web page")

    # Models: where runs are recorded, and who scores.
    mlflow_uri: str = _row("", "The MLflow tracking URI", "MLFLOW_TRACKING_URI")
    triton_url: str = _row(
        "", "The Triton server: grpc://, grpcs://, http:// or https://")
    triton_ca_file: Path | None = _row(
        None, "Certificate authority of the Triton server, PEM")
    triton_timeout_s: float = _row(
        60.0, "How long one call of a model may take in all, in seconds")
    triton_fallback: bool = _row(
        True, "Score in process where the Triton server is lost")
    triton_repository: str = _row(
        "", "Where models are published for the Triton server: a folder or s3://bucket")
    # fmt: on


def declarations() -> dict[str, Field[Any]]:
    """Return every setting's declaration by name, in the order of the table."""
    return {row.name: row for row in fields(Table)}


def declared(name: str, where: str = "") -> Field[Any]:
    """Return a setting's declaration; raise `SettingsError` naming the nearest."""
    rows = declarations()
    if name not in rows:
        what = f"There is no setting {name!r}; the nearest is {nearest(name, rows)!r}."
        step = "`casa-env show` lists the settings."
        raise SettingsError(what, looked_at=where, next_step=step)
    return rows[name]


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name most like a given one."""
    return difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]


def parse(row: Field[Any], raw: object) -> Any:  # noqa: ANN401 - any setting's value
    """Return a setting's value from text, TOML or an argument.

    Raise `ValueError` that says what was expected, in place of anything else.
    """
    expected, convert = _KINDS["size" if row.name.endswith("_bytes") else str(row.type)]
    try:
        return convert(raw)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as err:
        msg = f"expected {expected}"
        raise ValueError(msg) from err


def _texts(raw: Any) -> tuple[str, ...]:  # noqa: ANN401 - as for parse
    if isinstance(raw, dict):
        raise TypeError
    parts = raw.split(",") if isinstance(raw, str) else raw
    return tuple(part.strip() for part in parts if str.strip(part))


def _boolean(raw: Any) -> bool:  # noqa: ANN401
    return raw if isinstance(raw, bool) else _WORDS[raw.strip().lower()]


def _integer(raw: Any) -> int:  # noqa: ANN401
    if isinstance(raw, bool | float):
        raise TypeError
    return round(_positive(int(raw)))


def _number(raw: Any) -> float:  # noqa: ANN401
    if isinstance(raw, bool):
        raise TypeError
    return _positive(float(raw))


def _size(raw: Any) -> int:  # noqa: ANN401
    if isinstance(raw, int) and not isinstance(raw, bool):
        return _integer(raw)
    number, unit = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*", raw).groups()  # type: ignore[union-attr] # AttributeError, too
    return round(_positive(float(number) * _UNITS[unit.lower()]))


def _positive(value: float) -> float:
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def _path(raw: Any) -> Path | None:  # noqa: ANN401
    text = str(raw) if isinstance(raw, Path) else str.strip(raw, WHITE_SPACE)
    if "\0" in text:
        raise ValueError
    return Path(text) if text else None


_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_KINDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "str": ("text", lambda raw: str.strip(raw, WHITE_SPACE)),
    "tuple[str, ...]": ("a list of texts", _texts),
    "bool": ("true or false", _boolean),
    "int": ("a whole number, 0 or more", _integer),
    "float": ("a number, 0 or more", _number),
    "size": ('a size such as "2 GB", "1.5 GiB" or a number of bytes', _size),
    "Path | None": ("a path, without null characters", _path),
}


def shown(value: object) -> str:
    """Return a value as TOML writes it; what a URL may hide is replaced by ``***``.

    Examples
    --------
    >>> print(shown("https://alice:secret@mlflow.example.org/x?token=abc"))
    "https://***@mlflow.example.org/x?***"
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(shown(part) for part in value) + "]"
    if isinstance(value, str | Path) or value is None:
        plain = "" if value is None else str(value)
        # TOML has JSON's escapes, and wants one more character escaped.
        quoted = json.dumps(redacted(plain), ensure_ascii=False)
        return quoted.replace("\x7f", "\\u007f")
    return str(value)


_HEAD: Final = """\
# Settings of casa_env. A facility mounts this file as /etc/casa-env/config.toml; a
# user's own is ~/.config/casa-env/config.toml and wins. Every line is a default:
# remove the "# " before a setting to change it. `casa-env show` prints what holds and
# where it came from. `casa-env show --template` prints this file.
#
# Each setting is also a variable, CASA_ENV_ and its name in capitals, which wins over
# the files; the variables named in brackets are other tools' own and win too.
#
# Several profiles may stand at the end, and one is picked with `profile` above them,
# CASA_ENV_PROFILE or --profile; its settings win over those above:
#
#   [profile.batch]
#   dask_backend = "slurm"
"""


def config_template() -> str:
    """Return a configuration file in which every setting is a comment, but secrets."""
    parts = [_HEAD]
    for name, row in declarations().items():
        if row.metadata["secret"]:
            continue
        variables = ", ".join(row.metadata["variables"])
        choices = " | ".join(row.metadata["choices"])
        doc = row.metadata["doc"]
        doc += f": {choices}" if choices else ""
        doc += f" [{variables}]" if variables else ""
        parts.append(
            f"\n{textwrap.fill(doc, 86, initial_indent='# ', subsequent_indent='# ')}"
            f"\n# {name} = {shown(row.default)}\n"
        )
    return "".join(parts)
