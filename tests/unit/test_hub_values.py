"""Our values for the Zero to JupyterHub chart, held against the chart's schema."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator


def without_required(schema: Any) -> Any:
    """Return a schema for what is given on top of the chart's own values."""
    if isinstance(schema, dict):
        return {
            # which of several forms is meant, "required" tells
            key: value if key == "oneOf" else without_required(value)
            for key, value in schema.items()
            if not (key == "required" and isinstance(value, list))
        }
    if isinstance(schema, list):
        return [without_required(part) for part in schema]
    return schema


@pytest.fixture(scope="module")
def validator(shared_data: Path) -> Draft7Validator:
    file = shared_data / "zero-to-jupyterhub" / "values.schema.yaml"
    return Draft7Validator(without_required(yaml.safe_load(file.read_text())))


@pytest.fixture(scope="module")
def values(repository: Path) -> Any:
    """Return the values, with the file that `helm --set-file` adds."""
    folder = repository / "environment" / "jupyterhub"
    values = yaml.safe_load((folder / "values.yaml").read_text())
    for name, file in (("token-renewal", "token_renewal.py"), ("groups", "groups.py")):
        extra = values["hub"]["extraFiles"][name]
        extra["stringData"] = (folder / file).read_text()
    return values


def complaints(validator: Draft7Validator, values: Any) -> list[str]:
    return [
        f"{'.'.join(map(str, error.path))}: {error.message}"
        for error in validator.iter_errors(values)
    ]


def test_the_chart_takes_our_values(validator: Draft7Validator, values: Any) -> None:
    assert complaints(validator, values) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("singleuser.image.nmae", "casa-lab"),
        ("singleuser.memory.limits", "4G"),
        ("singleuser.cpu.limit", []),
        ("hub.extraFiles.token-renewal.path", "/etc"),
        ("proxy.https.enabled", "perhaps"),
    ],
)
def test_a_value_that_is_wrong_is_found(
    validator: Draft7Validator, values: Any, path: str, value: Any
) -> None:
    wrong = copy.deepcopy(values)
    *above, last = path.split(".")
    place = wrong
    for name in above:
        place = place[name]
    place[last] = value
    assert len(complaints(validator, wrong)) == 1


def test_the_image_is_named_by_a_version(values: Any) -> None:
    image = values["singleuser"]["image"]
    assert image["tag"].count(".") == 2
    assert image["tag"][:4].isdigit()


def test_what_is_mounted_is_what_is_used(values: Any) -> None:
    storage = values["singleuser"]["storage"]
    mounts = {m["name"]: m["mountPath"] for m in storage["extraVolumeMounts"]}
    assert {volume["name"] for volume in storage["extraVolumes"]} == set(mounts)
    assert mounts.items() >= {"site": "/etc/casa-env", "token": "/run/casa"}.items()


def test_the_token_is_where_the_hubs_configuration_says(
    repository: Path, values: Any
) -> None:
    text = (repository / "environment/jupyterhub/token_renewal.py").read_text()
    mounts = values["singleuser"]["storage"]["extraVolumeMounts"]
    (mount,) = (m["mountPath"] for m in mounts if m["name"] == "token")
    assert f'"{mount}/token"' in text


def test_a_users_name_is_not_one_that_people_choose(values: Any) -> None:
    config = values["hub"]["config"]
    assert config["GenericOAuthenticator"]["username_claim"] == "sub"
    pattern = re.compile(config["Authenticator"]["username_pattern"])
    assert pattern.match("83a1c1f2-5f0b-4d0e-9a5e-0c8c4b1c9a11")
    for name in ("../alice", "a/b", "alice\n", "", "a b", ".alice", "x" * 64, "{home}"):
        assert not pattern.match(name), name
