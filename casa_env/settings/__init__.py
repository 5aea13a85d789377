"""The settings of this place: a table of all, merged from files and variables."""

from casa_env.settings.load import SITE_FILE, Settings, Source, load_settings

__all__ = ["SITE_FILE", "Settings", "Source", "load_settings"]
