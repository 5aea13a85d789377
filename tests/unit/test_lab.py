from __future__ import annotations

import importlib
import json
import os
import re
import string
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from casa_env.errors import CasaEnvError, SettingsError
from casa_env.lab.extension import (
    base_path,
    clone_root,
    lab_command,
    lab_environment,
)
from casa_env.lab.mlflow_page import page

CLONE = Path("/home/alice/my clone")


@pytest.mark.parametrize(
    ("given_url", "expected"),
    [
        ("", "/"),
        ("/", "/"),
        ("user/alice", "/user/alice/"),
        ("/user/alice", "/user/alice/"),
        ("/user/alice/", "/user/alice/"),
    ],
)
def test_a_base_url_gets_a_slash_at_either_end(given_url: str, expected: str) -> None:
    assert base_path(given_url) == expected


@given(st.text(alphabet=string.ascii_letters + "/-._~@", max_size=30))
def test_base_paths_stay_as_they_are(text: str) -> None:
    if text.startswith("//"):
        with pytest.raises(SettingsError):
            base_path(text)
    else:
        normal = base_path(text)
        assert base_path(normal) == normal
        assert normal[0] == normal[-1] == "/"


@pytest.mark.parametrize(
    "text", ["http://host/user", "//host/user", "/a?b", "/a#b", "/{port}/"]
)
def test_a_base_url_that_is_more_than_a_path_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a path"):
        base_path(text)


def test_the_environment_given_is_left_as_it_is() -> None:
    environ = {"HOME": "/home/alice", "PATH": "/usr/bin"}
    before = dict(environ)
    assert (
        lab_environment(environ, clone=CLONE).items() > {"HOME": "/home/alice"}.items()
    )
    assert environ == before


def test_the_configuration_of_the_clone_is_named() -> None:
    environment = lab_environment({}, clone=CLONE)
    assert environment["JUPYTER_CONFIG_PATH"] == f"{CLONE}/environment/jupyter"
    assert environment["DASK_CONFIG"] == f"{CLONE}/environment/dask/casa.yaml"


def test_what_the_user_has_configured_comes_first() -> None:
    environ = {"DASK_CONFIG": "/my/dask", "JUPYTER_CONFIG_PATH": "/my/jupyter"}
    environment = lab_environment(environ, clone=CLONE)
    assert environment["DASK_CONFIG"] == "/my/dask"
    assert environment["DASK_ROOT_CONFIG"] == f"{CLONE}/environment/dask"
    assert environment["JUPYTER_CONFIG_PATH"].split(os.pathsep) == [
        "/my/jupyter",
        f"{CLONE}/environment/jupyter",
    ]


@pytest.mark.parametrize(
    ("base_url", "link"),
    [
        ("/", "/proxy/{port}/status"),
        ("user/alice", "/user/alice/proxy/{port}/status"),
    ],
)
def test_dashboards_are_linked_below_the_base_url(base_url: str, link: str) -> None:
    environment = lab_environment({}, clone=CLONE, base_url=base_url)
    assert environment["DASK_DISTRIBUTED__DASHBOARD__LINK"] == link


def test_a_laptop_does_not_look_like_a_hub() -> None:
    names = lab_environment({}, clone=CLONE, base_url="/user/alice/")
    assert not any(name.startswith("JUPYTERHUB_") for name in names)


def test_this_environments_programs_are_found_first() -> None:
    environment = lab_environment({"PATH": "/usr/bin"}, clone=CLONE)
    here = str(Path(sys.executable).parent)
    assert environment["PATH"].split(os.pathsep) == [here, "/usr/bin"]


def test_jupyterlab_listens_on_loopback_only_and_keeps_its_token() -> None:
    command = lab_command(clone=CLONE)
    assert command[0] == sys.executable
    assert "--ServerApp.ip=127.0.0.1" in command
    assert not any("token" in word or "password" in word for word in command)


@pytest.mark.parametrize("as_root", [False, True])
def test_root_is_allowed_only_where_the_user_is_root(as_root: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert ("--allow-root" in lab_command(clone=CLONE, as_root=as_root)) is as_root


def test_the_welcome_opens_first_where_there_is_one(tmp_path: Path) -> None:
    assert not any("default_url" in word for word in lab_command(clone=tmp_path))
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00-welcome.ipynb").touch()
    page = "--LabApp.default_url=/lab/tree/notebooks/00-welcome.ipynb"
    assert page in lab_command(clone=tmp_path)


def test_the_clone_is_where_the_package_comes_from(repository: Path) -> None:
    assert clone_root() == repository


def test_outside_a_clone_the_error_says_what_to_start_instead(tmp_path: Path) -> None:
    with pytest.raises(CasaEnvError, match="jupyter lab") as caught:
        clone_root(tmp_path)
    assert str(tmp_path) in caught.value.looked_at


def test_the_dask_panel_names_a_factory_that_there_is(repository: Path) -> None:
    text = (repository / "environment" / "dask" / "casa.yaml").read_text()
    factory = yaml.safe_load(text)["labextension"]["factory"]
    assert callable(
        getattr(importlib.import_module(factory["module"]), factory["class"])
    )


def test_every_setting_of_jupyterlab_has_its_reason(repository: Path) -> None:
    folder = repository / "environment" / "jupyter"
    reasons = (folder / "README.md").read_text()
    settings = set()
    for path in folder.glob("*.json"):
        for section, names in json.loads(path.read_text()).items():
            settings |= {f"{section}.{name}" for name in names}
    for path in folder.glob("labconfig/*.json"):
        settings |= set(json.loads(path.read_text()))
    described = set(re.findall(r"^\|[^|]*\| `(.+?)` \| .+ \|$", reasons, re.MULTILINE))
    assert described == settings


def test_overrides_are_of_settings_that_jupyterlab_has(repository: Path) -> None:
    overrides = repository.joinpath(
        "environment", "jupyter", "labconfig", "default_setting_overrides.json"
    )
    schemas = Path(sys.prefix, "share", "jupyter", "lab", "schemas")
    for plugin, values in json.loads(overrides.read_text()).items():
        package, name = plugin.split(":")
        schema = json.loads((schemas / package / f"{name}.json").read_text())
        assert values.keys() <= schema["properties"].keys()


@pytest.mark.parametrize("uri", ["", "https://mlflow.example.org"])
def test_mlflows_tile_is_there_unless_a_server_has_its_own_page(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_MLFLOW_URI", uri)
    tile = page()["launcher_entry"]
    assert tile["enabled"] is not bool(uri)
    assert Path(tile["icon_path"]).is_file()
