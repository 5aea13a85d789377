"""The settings of this place: read from all sources, merged, every value traceable."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from casa_env import values
from casa_env.config_file import ConfigFile, nearest, read_config
from casa_env.errors import SettingsError
from casa_env.options import Options, declarations, declared
from casa_env.sites import detected_site, site_defaults

__all__ = ["SITE_FILE", "Settings", "Source", "load_settings"]

#: Where a facility mounts its file.
SITE_FILE: Final = Path("/etc/casa-env/config.toml")

PREFIX: Final = "CASA_ENV_"

#: Names another place for the facility's file, where ``/etc`` is not ours to write.
SITE_FILE_VARIABLE: Final = "CASA_ENV_SITE_FILE"

#: Longer values are cut in error messages.
LONGEST_QUOTE: Final = 60


class Source(IntEnum):
    """Where a value came from; the larger number wins."""

    DEFAULT = 0
    """The default, as declared here."""
    DETECTED = 1
    """Follows from the site, or from another setting."""
    SITE_FILE = 2
    """The facility's file."""
    USER_FILE = 3
    """The user's file."""
    ECOSYSTEM = 4
    """A variable that other tools read too, such as ``MLFLOW_TRACKING_URI``."""
    ENVIRONMENT = 5
    """A variable ``CASA_ENV_*``."""
    ARGUMENT = 6
    """An argument of the function that was called."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings(Options):
    """What a site and a user chose; `load_settings` makes one.

    On a laptop nothing needs to be set. Binder is recognised. At a facility the
    administrator's file says what there is. ``casa-env show`` prints every setting
    with its value and its source; ``casa-env show --template`` explains each.
    """

    _sources: Mapping[str, tuple[Source, str]] = field(
        default_factory=dict, compare=False
    )

    def source(self, name: str) -> Source:
        """Return where the value of a setting came from.

        Parameters
        ----------
        name
            The name of a setting.

        Raises
        ------
        SettingsError
            If there is no such setting.
        """
        declared(name)
        return self._sources.get(name, (Source.DEFAULT, ""))[0]

    def origin(self, name: str) -> str:
        """Return where a value came from, for people: the variable or file and line.

        Parameters
        ----------
        name
            The name of a setting.

        Raises
        ------
        SettingsError
            If there is no such setting.
        """
        declared(name)
        return self._sources.get(name, (Source.DEFAULT, "default"))[1]

    def shown(self, name: str) -> str:
        """Return the value of a setting for people: a secret is never shown.

        Parameters
        ----------
        name
            The name of a setting.

        Raises
        ------
        SettingsError
            If there is no such setting.
        """
        value = getattr(self, declared(name).name)
        if declared(name).metadata["secret"] and value:
            return "(set, not shown)"
        return values.shown(value)

    def __repr__(self) -> str:
        """Return what differs from the defaults, without secrets."""
        set_here = (
            f"{name}={self.shown(name)}"
            for name, option in declarations().items()
            if getattr(self, name) != option.default
        )
        return f"Settings({', '.join(set_here)})"


# By the name of a setting: its value, where it came from, and that for people.
Layer = dict[str, tuple[Any, Source, str]]

_UNSET: Final = ("", Source.DEFAULT, "default")


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
        The facility's file; by default ``CASA_ENV_SITE_FILE``, else `SITE_FILE`.
    **arguments
        Settings by name; ``None`` stands for not given.

    Returns
    -------
    Settings
        The merged settings.

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
    environ = os.environ if environ is None else environ
    home = home or (Path(environ["HOME"]) if environ.get("HOME") else Path.home())
    site_file = site_file or Path(environ.get(SITE_FILE_VARIABLE) or SITE_FILE)
    config_home = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    user_file = config_home / "casa-env" / "config.toml"
    read = [
        (read_config(site_file), Source.SITE_FILE),
        (read_config(user_file), Source.USER_FILE),
    ]
    files = [
        _file_layers(file, source, home) for file, source in read if file is not None
    ]
    given = [*_environment_layers(environ), _argument_layer(arguments)]
    profile = _picked_profile(files, given)
    detected = {"site": (detected_site(environ), Source.DETECTED, "detected")}
    layers = [
        detected,
        *(file[table] for file in files for table in ("", profile) if table in file),
        *given,
    ]
    return _merged(layers, home)


def _merged(layers: Iterable[Layer], home: Path) -> Settings:
    """Merge layers, the weakest first, and add what follows from the result."""
    merged: Layer = {}
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


def _picked_profile(files: Iterable[Mapping[str, Layer]], given: list[Layer]) -> str:
    """Return the profile that the strongest source picks; raise if there is none."""
    files = list(files)
    profile, origin = "", ""
    for layer in [*(file[""] for file in files), *given]:
        if "profile" in layer:
            profile, _, origin = layer["profile"]
    known = sorted({table for file in files for table in file} - {""})
    if profile and profile not in known:
        what = (
            f"There is no profile {profile!r}; there are: {', '.join(known) or 'none'}."
        )
        step = f"Pick another, or add [profile.{profile}] to a configuration file."
        raise SettingsError(what, looked_at=origin, next_step=step)
    return profile


def _argument_layer(arguments: Mapping[str, object]) -> Layer:
    """Return the arguments that were given."""
    return {
        name: (_parsed(name, raw, f"argument {name}"), Source.ARGUMENT, "argument")
        for name, raw in arguments.items()
        if raw is not None
    }


def _environment_layers(environ: Mapping[str, str]) -> list[Layer]:
    """Return the ecosystem's variables, then ours; unknown ones of ours are errors."""
    ecosystem: Layer = {}
    for name, option in declarations().items():
        for variable in option.metadata["variables"]:
            # Most tools take an empty variable as not set; ours switches off.
            if environ.get(variable) and name not in ecosystem:
                value = _parsed(name, environ[variable], variable)
                ecosystem[name] = value, Source.ECOSYSTEM, variable
    ours: Layer = {}
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable != SITE_FILE_VARIABLE:
            name = variable.removeprefix(PREFIX).lower()
            value = _parsed(name, environ[variable], variable)
            ours[name] = value, Source.ENVIRONMENT, variable
    return [ecosystem, ours]


def _file_layers(file: ConfigFile, source: Source, home: Path) -> dict[str, Layer]:
    """Return a file's layers by profile, the common one as ``""``; check them all."""
    layers: dict[str, Layer] = {}
    for profile, table in file.tables().items():
        layers[profile] = {}
        for name, raw in table.items():
            where = file.where(name, profile)
            value = _expanded(_parsed(name, raw, where), home)
            if declared(name).metadata["secret"] or (name == "profile" and profile):
                what = f"The setting {name} may not stand here."
                step = f"Set the variable {PREFIX}{name.upper()} instead."
                raise SettingsError(what, looked_at=where, next_step=step)
            if isinstance(value, Path) and not value.is_absolute():
                what = f"The setting {name} is not an absolute path."
                step = "Begin it with / or ~/, so that it holds in every folder."
                raise SettingsError(what, looked_at=where, next_step=step)
            layers[profile][name] = value, source, where
    return layers


def _parsed(name: str, raw: object, where: str) -> Any:  # noqa: ANN401 - any setting's
    """Return a setting's value from text, TOML or an argument."""
    option = declared(name, where).metadata
    choices = option["choices"]
    try:
        value = option["parse"](raw)
    except ValueError as err:
        problem = str(err)
    else:
        if not choices or value in choices:
            return value
        problem = f"expected one of {', '.join(choices)}"
        if value:
            problem += f"; the nearest is {nearest(value, choices)!r}"
    given = "this value" if option["secret"] else _quoted(raw)
    what = f"The setting {name} cannot be {given}: {problem}."
    raise SettingsError(what, looked_at=where, next_step=f"{option['doc']}.")


def _quoted(raw: object) -> str:
    """Return a rejected value for an error: short, on one line, no URL's secrets."""
    shown = values.shown(raw) if isinstance(raw, str | Path | tuple) else repr(raw)
    return shown if len(shown) <= LONGEST_QUOTE else f"{shown[:LONGEST_QUOTE]}..."


def _expanded(value: Any, home: Path) -> Any:  # noqa: ANN401 - any setting's
    """Return a value, a leading ``~`` of a path replaced."""
    if isinstance(value, Path) and value.parts[:1] == ("~",):
        return home.joinpath(*value.parts[1:])
    return value
