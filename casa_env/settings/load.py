"""The settings of this place: read from all sources, merged, every value traceable."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from casa_env.errors import SettingsError, redacted
from casa_env.network import spare_loopback
from casa_env.settings import table
from casa_env.settings.places import config_home, detected_site, site_defaults

#: Where a facility mounts its file, and what names another place for it.
SITE_FILE: Final = Path("/etc/casa-env/config.toml")
SITE_FILE_VARIABLE: Final = "CASA_ENV_SITE_FILE"

PREFIX: Final = "CASA_ENV_"

#: Longer values are cut in error messages.
LONGEST_QUOTE: Final = 60


class Source(IntEnum):
    """Where a value came from; the larger number wins."""

    DEFAULT = 0
    DETECTED = 1  # follows from the site, or from another setting
    SITE_FILE = 2
    USER_FILE = 3
    ECOSYSTEM = 4  # a variable that other tools read too: MLFLOW_TRACKING_URI
    ENVIRONMENT = 5  # a variable CASA_ENV_*
    ARGUMENT = 6


# By the name of a setting: its value, where it came from, and that for people.
_Layer = dict[str, tuple[Any, Source, str]]

_UNSET: Final = ("", Source.DEFAULT, "default")


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(table.Table):
    """What a site and a user chose; `load_settings` makes one.

    On a laptop nothing needs to be set. Binder is recognised. At a facility the
    administrator's file says what there is. ``casa-env show`` prints every setting
    with its value and its source; ``casa-env show --template`` explains each. Asking
    for a setting that is not there raises `SettingsError`, which names the nearest.
    """

    _sources: Mapping[str, tuple[Source, str]] = field(
        default_factory=dict, compare=False
    )

    def source(self, name: str) -> Source:
        """Return where the value of a setting came from."""
        return self._sources.get(table.declared(name).name, _UNSET[1:])[0]

    def origin(self, name: str) -> str:
        """Return where a value came from, for people: the variable or file and line."""
        return self._sources.get(table.declared(name).name, _UNSET[1:])[1]

    def shown(self, name: str) -> str:
        """Return the value of a setting for people: a secret is never shown."""
        value = getattr(self, table.declared(name).name)
        if table.declared(name).metadata["secret"] and value:
            return "(set, not shown)"
        return table.shown(value)

    def where(self, name: str) -> str:
        """Return the value of a setting and where it came from, for people."""
        return f"{self.shown(name)}, from {self.origin(name)}"

    def __getstate__(self) -> dict[str, Any]:
        """Refuse to be pickled with a secret, which Dask would keep and pass on."""
        for name, row in table.declarations().items():
            value = str(getattr(self, name) or "")
            if value and (row.metadata["secret"] or redacted(value) != value):
                what = f"Settings with a secret ({name}) are not pickled."
                step = "Call load_settings() where they are needed: workers of "
                step += "dask_client() are given what they need to read as you do."
                raise SettingsError(what, looked_at=self.origin(name), next_step=step)
        return self.__dict__

    def __repr__(self) -> str:
        """Return what differs from the defaults, without secrets."""
        set_here = (
            f"{name}={self.shown(name)}"
            for name, row in table.declarations().items()
            if getattr(self, name) != row.default
        )
        return f"Settings({', '.join(set_here)})"


def load_settings(
    environ: Mapping[str, str] | None = None,
    *,
    home: Path | None = None,
    site_file: Path | None = None,
    **arguments: object,
) -> Settings:
    """Read the settings from all sources and merge them.

    On a laptop the defaults hold unless the user's file or variables say otherwise;
    on Binder workers are threads; at a facility its file says what there is.

    Parameters
    ----------
    environ
        Environment variables; by default those of this process.
    home
        The home directory; by default ``HOME``, else that of the user.
    site_file
        The facility's file; by default ``CASA_ENV_SITE_FILE``, else
        ``/etc/casa-env/config.toml``.
    **arguments
        Settings by name; ``None`` stands for not given.

    Raises
    ------
    SettingsError
        If a setting is unknown or has the wrong type, if there is no such profile,
        or if a file cannot be read.

    Notes
    -----
    An argument wins over ``CASA_ENV_*``, then the ecosystem's own variable, the
    user's file (``$XDG_CONFIG_HOME/casa-env/config.toml``), the facility's file,
    what was detected and the default. Within a file, the profile wins. Nothing is
    read from the working directory: a cloned repository must not choose your
    scheduler. An address from a stronger source than the back end's means ``join``.

    Examples
    --------
    >>> settings = load_settings({"DASK_SCHEDULER_ADDRESS": "tls://dask:8786"})
    >>> settings.dask_backend, settings.source("dask_address").name
    ('join', 'ECOSYSTEM')
    """
    if environ is None:
        spare_loopback(environ := os.environ)
    home = home or (Path(environ["HOME"]) if environ.get("HOME") else Path.home())
    site_file = site_file or Path(environ.get(SITE_FILE_VARIABLE) or SITE_FILE)
    user_file = config_home(environ, home) / "casa-env" / "config.toml"
    files = [
        _file_layers(site_file, Source.SITE_FILE, home),
        _file_layers(user_file, Source.USER_FILE, home),
    ]
    given = [*_environment_layers(environ), _argument_layer(arguments)]
    profile = _picked_profile(files, given)
    detected = {"site": (detected_site(environ), Source.DETECTED, "detected")}
    layers = [
        detected,
        *(file[name] for file in files for name in ("", profile) if name in file),
        *given,
    ]
    return _merged(layers, home)


def _merged(layers: Iterable[_Layer], home: Path) -> Settings:
    """Merge layers, the weakest first, and add what follows from the result."""
    merged: _Layer = {}
    for layer in layers:
        merged.update(layer)
    site = merged["site"][0]
    for name, value in site_defaults(site).items():
        merged.setdefault(name, (value, Source.DETECTED, f"site is {site}"))
    address, source, origin = merged.get("dask_address", _UNSET)
    if address and source > merged.get("dask_backend", _UNSET)[1]:
        merged["dask_backend"] = "join", Source.DETECTED, f"address from {origin}"
    return Settings(
        **{name: _expanded(value, home) for name, (value, _, _) in merged.items()},
        _sources={
            name: (source, origin) for name, (_, source, origin) in merged.items()
        },
    )


def _picked_profile(files: Iterable[Mapping[str, _Layer]], given: list[_Layer]) -> str:
    """Return the profile that the strongest source picks; raise if there is none."""
    files = list(files)
    profile, origin = "", ""
    for layer in [*(file.get("", {}) for file in files), *given]:
        if "profile" in layer:
            profile, _, origin = layer["profile"]
    known = sorted({name for file in files for name in file} - {""})
    if profile and profile not in known:
        there = ", ".join(known) or "none"
        what = f"There is no profile {profile!r}; there are: {there}."
        step = f"Pick another, or add [profile.{profile}] to a configuration file."
        raise SettingsError(what, looked_at=origin, next_step=step)
    return profile


def _argument_layer(arguments: Mapping[str, object]) -> _Layer:
    return {
        name: (_parsed(name, raw, f"argument {name}"), Source.ARGUMENT, "argument")
        for name, raw in arguments.items()
        if raw is not None
    }


def _environment_layers(environ: Mapping[str, str]) -> list[_Layer]:
    """Return the ecosystem's variables, then ours; unknown ones of ours are errors."""
    ecosystem: _Layer = {}
    for name, row in table.declarations().items():
        for variable in row.metadata["variables"]:
            # Most tools take an empty variable as not set; ours switches off.
            if environ.get(variable) and name not in ecosystem:
                value = _parsed(name, environ[variable], variable)
                ecosystem[name] = value, Source.ECOSYSTEM, variable
    ours: _Layer = {}
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable != SITE_FILE_VARIABLE:
            name = variable.removeprefix(PREFIX).lower()
            value = _parsed(name, environ[variable], variable)
            ours[name] = value, Source.ENVIRONMENT, variable
    return [ecosystem, ours]


def _file_layers(path: Path, source: Source, home: Path) -> dict[str, _Layer]:
    """Return a file's layers by profile, the common one as ``""``; check them all."""
    text = _file_text(path)
    try:
        common = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        what = f"The configuration file is not valid TOML: {err}."
        step = 'Write one `key = value` a line, texts in "quotes".'
        raise SettingsError(what, looked_at=str(path), next_step=step) from err
    # `profile = "slurm"` picks a profile; `[profile.slurm]` describes one.
    profiles = common.pop("profile") if isinstance(common.get("profile"), dict) else {}
    layers: dict[str, _Layer] = {}
    for profile, keys in {"": common, **profiles}.items():
        if not isinstance(keys, dict):
            what = f"The profile {profile!r} is not a table."
            step = f"Write a line [profile.{profile}] and its settings below it."
            raise SettingsError(what, looked_at=str(path), next_step=step)
        layers[profile] = {}
        for name, raw in keys.items():
            where = _line_of(name, profile, text, path)
            value = _expanded(_parsed(name, raw, where), home)
            secret = table.declared(name).metadata["secret"]
            if secret or (name == "profile" and profile):
                what = f"The setting {name} may not stand here."
                step = f"Set the variable {PREFIX}{name.upper()} instead."
                raise SettingsError(what, looked_at=where, next_step=step)
            if isinstance(value, Path) and not value.is_absolute():
                what = f"The setting {name} is not an absolute path."
                step = "Begin it with / or ~/, so that it holds in every folder."
                raise SettingsError(what, looked_at=where, next_step=step)
            layers[profile][name] = value, source, where
    return layers


def _file_text(path: Path) -> str:
    """Return a configuration file's text, empty where there is no such file."""
    try:
        content = path.read_bytes()
        return content.decode()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as err:
        what = f"The configuration file cannot be read: {err.strerror}."
        step = "Make it a readable file, or remove it."
        raise SettingsError(what, looked_at=str(path), next_step=step) from err
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        what = "The configuration file is not UTF-8 text."
        step = "Save it as UTF-8."
        where = f"{path}, line {line}"
        raise SettingsError(what, looked_at=where, next_step=step) from err


def _line_of(key: str, profile: str, text: str, path: Path) -> str:
    """Return ``"file, line N"`` for a key of a file, or the file alone."""
    inside = ""
    assignment = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*(.+?)\s*\]\s*(#.*)?$", line):
            of_profile = re.fullmatch(
                r"""["']?profile["']?\s*\.\s*["']?(.+?)["']?""", header[1]
            )
            inside = of_profile[1] if of_profile else header[1]
            if not of_profile and not profile and inside == key:
                return f"{path}, line {number}"
        elif inside == profile and assignment.match(line):
            return f"{path}, line {number}"
    return str(path)


def _parsed(name: str, raw: object, where: str) -> Any:  # noqa: ANN401 - any setting's
    """Return a setting's value from text, TOML or an argument."""
    row = table.declared(name, where)
    choices = row.metadata["choices"]
    try:
        value = table.parse(row, raw)
    except ValueError as err:
        problem = str(err)
    else:
        if not choices or value in choices:
            return value
        problem = f"expected one of {', '.join(choices)}"
        if value:
            problem += f"; the nearest is {table.nearest(value, choices)!r}"
    given = "this value" if row.metadata["secret"] else _quoted(raw)
    what = f"The setting {name} cannot be {given}: {problem}."
    raise SettingsError(what, looked_at=where, next_step=f"{row.metadata['doc']}.")


def _quoted(raw: object) -> str:
    """Return a rejected value for an error: short, on one line, no URL's secrets."""
    shown = table.shown(raw) if isinstance(raw, str | Path | tuple) else repr(raw)
    return shown if len(shown) <= LONGEST_QUOTE else f"{shown[:LONGEST_QUOTE]}..."


def _expanded(value: Any, home: Path) -> Any:  # noqa: ANN401 - any setting's
    """Return a value, a leading ``~`` of a path replaced."""
    if isinstance(value, Path) and value.parts[:1] == ("~",):
        return home.joinpath(*value.parts[1:])
    return value
