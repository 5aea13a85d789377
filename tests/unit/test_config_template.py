from __future__ import annotations

import re
import tomllib
from pathlib import Path

from casa_env.settings import load_settings
from casa_env.settings.table import config_template, declarations


def uncommented(text: str) -> str:
    """Return the file with every setting switched on."""
    return re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)


def test_the_shipped_file_is_the_template(repository: Path) -> None:
    shipped = repository / "environment" / "casa-env.toml"
    assert shipped.read_text() == config_template()


def test_the_shipped_file_changes_nothing_as_it_is(repository: Path) -> None:
    shipped = repository / "environment" / "casa-env.toml"
    assert tomllib.loads(shipped.read_text()) == {}


def test_the_template_holds_exactly_the_settings_there_are() -> None:
    settings = {n for n, o in declarations().items() if not o.metadata["secret"]}
    assert set(tomllib.loads(uncommented(config_template()))) == settings


def test_every_line_of_the_template_is_the_default(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(uncommented(config_template()))
    assert load_settings({}, site_file=file) == load_settings(
        {}, site_file=tmp_path / "none"
    )
