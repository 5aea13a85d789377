"""One configuration file: its TOML tables, and errors that name file and line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from casa_env.errors import SettingsError

__all__ = ["ConfigFile", "nearest", "parse_config", "read_config"]


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """What a configuration file holds, its keys not yet checked."""

    path: Path
    """Where it was read from."""

    text: str
    """Its text, to find the line of a key."""

    common: Mapping[str, Any]
    """The keys outside of any table."""

    profiles: Mapping[str, Mapping[str, Any]]
    """The keys of each table ``[profile.NAME]``."""

    def tables(self) -> dict[str, Mapping[str, Any]]:
        """Return every table by profile name; the common one under ``""``."""
        return {"": self.common, **self.profiles}

    def where(self, key: str, profile: str = "") -> str:
        """Return ``"file, line N"`` for a key, or the file alone.

        Parameters
        ----------
        key
            A key of the file.
        profile
            The profile it stands in; ``""`` for the common part.
        """
        inside = ""
        assignment = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
        for number, line in enumerate(self.text.splitlines(), start=1):
            header = re.match(r"\s*\[\s*(.+?)\s*\]\s*(#.*)?$", line)
            if header:
                name = re.fullmatch(
                    r"""["']?profile["']?\s*\.\s*["']?(.+?)["']?""", header[1]
                )
                inside = name[1] if name else header[1]
                if not name and not profile and inside == key:
                    return f"{self.path}, line {number}"
            elif inside == profile and assignment.match(line):
                return f"{self.path}, line {number}"
        return str(self.path)


def read_config(path: Path) -> ConfigFile | None:
    """Read a configuration file.

    Parameters
    ----------
    path
        The file. It need not be there.

    Returns
    -------
    ConfigFile or None
        What it holds; ``None`` where there is no such file.

    Raises
    ------
    SettingsError
        If the file is there but cannot be read, or is not TOML.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        what = f"The configuration file cannot be read: {err.strerror}."
        step = "Make it a readable file, or remove it."
        raise SettingsError(what, looked_at=str(path), next_step=step) from err
    try:
        return parse_config(content.decode(), path)
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        what = "The configuration file is not UTF-8 text."
        where = f"{path}, line {line}"
        step = "Save it as UTF-8."
        raise SettingsError(what, looked_at=where, next_step=step) from err


def parse_config(text: str, path: Path) -> ConfigFile:
    """Parse the text of a configuration file.

    Parameters
    ----------
    text
        TOML: settings, and tables ``[profile.NAME]`` of settings.
    path
        The file that errors name.

    Returns
    -------
    ConfigFile
        What it holds.

    Raises
    ------
    SettingsError
        If the text is not TOML, or ``profile`` is neither text nor tables.
    """
    try:
        common = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        what = f"The configuration file is not valid TOML: {err}."
        step = 'Write one `key = value` a line, texts in "quotes".'
        raise SettingsError(what, looked_at=str(path), next_step=step) from err
    # `profile = "slurm"` picks a profile; `[profile.slurm]` describes one.
    profiles = common.pop("profile") if isinstance(common.get("profile"), dict) else {}
    file = ConfigFile(path=path, text=text, common=common, profiles=profiles)
    for name, table in profiles.items():
        if not isinstance(table, dict):
            what = f"The profile {name!r} is not a table."
            step = f"Write a line [profile.{name}] and its settings below it."
            raise SettingsError(what, looked_at=str(path), next_step=step)
    return file


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name most like a given one.

    Parameters
    ----------
    name
        What was written.
    names
        What could have been meant; at least one.

    Examples
    --------
    >>> nearest("xcache_ulr", ["dask_backend", "xcache_url"])
    'xcache_url'
    """
    return difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
