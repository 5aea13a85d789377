"""Groups of the provider decide which profiles a user is offered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from jupyterhub import orm
from traitlets.config import Config


@pytest.fixture(scope="module")
def values(repository: Path) -> Any:
    file = repository / "environment" / "jupyterhub" / "values.yaml"
    return yaml.safe_load(file.read_text())


def configured(repository: Path, profiles: list[dict[str, Any]]) -> Config:
    """Run our configuration as the hub does, after the chart's own."""
    config = Config()
    if profiles:
        config.KubeSpawner.profile_list = profiles
    file = repository / "environment" / "jupyterhub" / "groups.py"
    exec(  # noqa: S102 - as traitlets does
        compile(file.read_text(), str(file), "exec"), {"get_config": lambda: config}
    )
    return config


def offered(config: Config, *groups: str) -> list[str]:
    user = orm.User(name="alice", groups=[orm.Group(name=name) for name in groups])
    found = config.KubeSpawner.profile_list(SimpleNamespace(user=user))
    assert all("groups" not in profile for profile in found)  # the spawner has no such
    return [profile["display_name"] for profile in found]


def test_a_profile_is_offered_to_its_groups_alone(
    repository: Path, values: Any
) -> None:
    config = configured(repository, values["singleuser"]["profileList"])
    assert offered(config, "/GROUP", "/other") == ["Standard", "Large"]
    assert offered(config, "/GROUP/below") == ["Standard"]
    assert offered(config) == ["Standard"]


def test_without_profiles_there_is_nothing_to_choose(repository: Path) -> None:
    assert "profile_list" not in configured(repository, []).KubeSpawner


@pytest.mark.parametrize(
    ("claims", "groups"),
    [
        ({"wlcg.groups": ["/cms", "/cms/b"]}, ["/cms", "/cms/b"]),
        ({"wlcg.groups": "/cms"}, ["/cms"]),
        ({"wlcg.groups": []}, []),
        ({"wlcg.groups": None}, []),
        ({"wlcg.groups": ["/cms", 5, None]}, ["/cms"]),
        ({}, []),
    ],
)
def test_the_groups_are_those_of_the_claim(
    repository: Path, claims: dict[str, Any], groups: list[str]
) -> None:
    config = configured(repository, [])
    assert config.Authenticator.manage_groups
    found = config.OAuthenticator.auth_state_groups_key({"oauth_user": claims})
    assert found == groups
