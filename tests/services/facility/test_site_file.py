"""The one file that notebooks read, and the hub's values: each said in two places."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from casa_env.errors import SettingsError
from casa_env.settings import load_settings
from casa_env.settings.table import declarations
from support.helm import CHART, Tools, chart_with_stand_ins, named


def test_the_schema_knows_the_settings_that_a_site_may_give() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    given = set(
        schema["properties"]["site"]["properties"]["settings"]["properties"].keys()
    )
    text = (CHART / "templates" / "site.yaml").read_text()
    made = set(re.findall(r'set \$settings "([a-z0-9_]+)"', text))
    made |= {"site", "site_name"}
    offered = {n for n, row in declarations().items() if not row.metadata["secret"]}
    assert given | made == offered - {"profile"}
    assert not given & made


def site_file(documents: list[dict[str, Any]], folder: Path) -> Path:
    file = folder / "config.toml"
    file.write_text(named(documents, "ConfigMap")["casa-site"]["data"]["config.toml"])
    return file


def test_notebooks_read_the_sites_file_as_it_is_rendered(
    rendered: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = site_file(rendered, tmp_path)
    settings = load_settings({"HOME": str(tmp_path)}, site_file=file)
    for name in tomllib.loads(file.read_text()):
        assert str(file) in settings.origin(name)
    services = named(rendered, "Service")
    for url in (
        settings.dask_address,
        settings.mlflow_uri,
        settings.triton_url,
        settings.xcache_url,
        *settings.xcache_fallbacks,
    ):
        if url:
            host, port = url.rpartition("://")[2].rsplit(":", 1)
            service, namespace = host.split(".")
            assert namespace == "casa"
            ports = [p["port"] for p in services[service]["spec"]["ports"]]
            assert int(port) in ports


def test_what_is_turned_off_is_neither_rendered_nor_named(
    tools: Tools, chart: Path, tmp_path: Path
) -> None:
    off = ("dask", "xcache", "mlflow", "postgres", "triton", "jupyterhub")
    words = [w for name in off for w in ("--set", f"{name}.enabled=false")]
    documents = tools.render(chart, *words)
    assert {d["kind"] for d in documents} == {"ConfigMap", "NetworkPolicy"}
    file = site_file(documents, tmp_path)
    settings = load_settings({"HOME": str(tmp_path)}, site_file=file)
    assert (settings.dask_backend, settings.mlflow_uri) == ("local", "")
    assert (settings.xcache_url, settings.triton_url) == ("", "")


def test_a_site_gives_more_settings_but_not_those_that_are_made(
    tools: Tools, chart: Path, tmp_path: Path
) -> None:
    given = tmp_path / "given.yaml"
    given.write_text(
        "site: {settings: {dask_wait_s: 60.5, token_scopes: ['storage.read:/'], "
        "triton_fallback: false, memory_limit_bytes: 4000000000}}"
    )
    file = site_file(tools.render(chart, "--values", str(given)), tmp_path)
    settings = load_settings({"HOME": str(tmp_path)}, site_file=file)
    assert (settings.dask_wait_s, settings.triton_fallback) == (60.5, False)
    assert settings.token_scopes == ("storage.read:/",)
    assert settings.memory_limit_bytes == 4_000_000_000
    said = tools.refusal(chart, "--set", "site.settings.mlflow_uri=http://other")
    assert "mlflow_uri" in said


def test_the_loader_refuses_a_site_file_with_an_unknown_setting(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('mlflow_url = "http://casa-mlflow.casa:5000"\n')
    with pytest.raises(SettingsError, match="mlflow_uri"):
        load_settings({"HOME": str(tmp_path)}, site_file=file)


def merged(one: Any, two: Any) -> Any:
    if isinstance(one, dict) and isinstance(two, dict):
        return one | {key: merged(one.get(key), value) for key, value in two.items()}
    return two


def test_the_hub_has_the_values_of_a_hub_alone(repository: Path) -> None:
    folder = repository / "environment" / "jupyterhub"
    alone = yaml.safe_load((folder / "values.yaml").read_text())
    here = yaml.safe_load((CHART / "values.yaml").read_text())["jupyterhub"]
    expected = copy.deepcopy(alone)
    # the chart mounts the file itself, the login's client is a secret
    del expected["hub"]["extraFiles"]
    del expected["hub"]["config"]["GenericOAuthenticator"]["client_id"]
    ours = copy.deepcopy(here)
    assert ours.pop("enabled") is True
    (volume,) = ours["hub"].pop("extraVolumes")
    mounts = ours["hub"].pop("extraVolumeMounts")
    login = ours["hub"].pop("extraEnv")
    (rule,) = ours["singleuser"].pop("networkPolicy")["egress"]
    assert ours == expected
    assert volume["configMap"]["name"] == "casa-hub-files"
    files = {one["mountPath"] for one in alone["hub"]["extraFiles"].values()}
    assert {mount["mountPath"] for mount in mounts} == files
    for mount in mounts:
        assert Path(mount["mountPath"]).name == mount["subPath"]
        source = (CHART / "files" / mount["subPath"]).readlink()
        assert source == Path("../../../jupyterhub") / mount["subPath"]
    assert login.keys() == {"OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"}
    assert all("secretKeyRef" in one["valueFrom"] for one in login.values())
    assert rule["to"][0]["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/part-of": "casa"
    }


def test_the_hubs_chart_takes_the_values(shared_data: Path) -> None:
    file = shared_data / "zero-to-jupyterhub" / "values.schema.yaml"
    schema = yaml.safe_load(file.read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())["jupyterhub"]
    for values_ in (values, merged(values, {"hub": {"extraVolumeMount": []}})):
        wrong = [
            error.message
            for error in Draft7Validator(schema).iter_errors(
                {k: v for k, v in values_.items() if k != "enabled"}
            )
            if error.validator == "additionalProperties"
        ]
        assert bool(wrong) == (values_ is not values), wrong


def test_the_package_of_the_chart_has_the_hubs_file(
    tools: Tools, repository: Path, tmp_path: Path
) -> None:
    source = repository / "environment" / "jupyterhub" / "token_renewal.py"
    link = Path("files") / "token_renewal.py"
    copied = chart_with_stand_ins(tmp_path)
    (copied / link).unlink()
    (copied / link).symlink_to(source)
    done = tools.run("helm", "package", str(copied), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (package,) = tmp_path.glob("*.tgz")
    documents = tools.render(package)
    text = named(documents, "ConfigMap")["casa-hub-files"]["data"]["token_renewal.py"]
    assert text.strip() == source.read_text().strip()
