"""The facility's chart: what it renders, what it refuses, and what notebooks read."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from casa_env.errors import SettingsError
from casa_env.settings import load_settings
from casa_env.settings.table import declarations
from fsspec_failover.xrootd import WAITING
from support.helm import CHART, Tools, chart_with_stand_ins, named

#: What a site starts from: the chart's own values, and the two examples.
EXAMPLES = ("values.yaml", "values-laptop.yaml", "values-tier2.yaml")

DIGEST = "sha256:" + "5" * 64

#: What the examples leave out.
THE_REST = (
    "monitoring.namespace=monitoring",
    "dask.outside.enabled=true",
    "dask.outside.networks={192.0.2.0/24}",
    "postgres.restore=mlflow-20261128T030000Z.dump",
    "imagePullSecrets={registry}",
    "lab.enabled=true",
)


def options(chart: Path, example: str) -> list[str]:
    return ["--values", str(chart / example)]


@pytest.fixture(scope="module", params=EXAMPLES)
def rendered(
    request: pytest.FixtureRequest, tools: Tools, chart: Path
) -> list[dict[str, Any]]:
    return tools.render(chart, *options(chart, request.param))


def templates(documents: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the template of each kind of pod, with the name of what makes it."""
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec:
            yield document["metadata"]["name"], spec["template"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_helm_finds_nothing_to_complain_of(
    tools: Tools, chart: Path, example: str
) -> None:
    done = tools.run("helm", "lint", "--strict", str(chart), *options(chart, example))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_three_newest_versions_of_kubernetes_take_every_document(
    tools: Tools, chart: Path, example: str, tmp_path: Path
) -> None:
    more = [word for value in THE_REST for word in ("--set", value)]
    if example != "values.yaml":
        more = []
    documents = tools.render(chart, *options(chart, example), *more)
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    code = "import kubernetes_validate as k; print(k.latest_version())"
    newest = int(tools.run("python", "-c", code).stdout.split(".")[1])
    for minor in range(newest - 2, newest + 1):
        check = ["-m", "kubernetes_validate", "--strict", "--kubernetes-version"]
        done = tools.run("python", *check, f"1.{minor}", str(file))
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert said.count("passed for resource") == len(documents)


def test_a_field_that_kubernetes_does_not_have_is_found(
    tools: Tools, chart: Path, tmp_path: Path
) -> None:
    documents = tools.render(chart)
    deployment = named(documents, "Deployment")["casa-mlflow"]
    deployment["spec"]["replicaz"] = deployment["spec"].pop("replicas")
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    done = tools.run("python", "-m", "kubernetes_validate", "--strict", str(file))
    assert done.returncode != 0
    assert "replicaz" in done.stdout + done.stderr


@pytest.mark.parametrize(
    "path",
    [
        "registri",
        "images.lab.digset",
        "site.settings.dask_wait",
        "dask.workers.cuont",
        "dask.workers.resources.memroy",
        "xcache.diskUsage.hihg",
        "mlflow.database.pasword",
        "postgres.backup.kep",
        "triton.repositori",
    ],
)
def test_a_misspelt_value_is_an_error_that_names_it(
    tools: Tools, chart: Path, path: str
) -> None:
    said = tools.refusal(chart, "--set", f"{path}=1")
    assert path.rpartition(".")[2] in said


@pytest.mark.parametrize(
    ("value", "named_by"),
    [
        ("images.lab.tag=latest", "images/lab"),
        ("images.lab.digest=sha256:12", "images/lab/digest"),
        ("dask.workers.count=-1", "dask/workers/count"),
        ("dask.workers.resources.memory=4G", "dask/workers/resources/memory"),
        ("objectStore.endpoint=s3.example.org", "objectStore/endpoint"),
        ("site.settings.dask_require=mostly", "site/settings/dask_require"),
        ("mlflow.database.host=elsewhere", "mlflow.database.host"),
        ("postgres.enabled=false", "mlflow.database.host"),
        ("requireDigests=true", "digest is missing"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(
    tools: Tools, chart: Path, value: str, named_by: str
) -> None:
    said = tools.refusal(chart, "--set", value)
    assert named_by in said or named_by.replace("/", ".") in said


def test_every_object_of_the_schema_refuses_what_it_does_not_know() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    Draft7Validator.check_schema(schema)
    #: The blocks of other charts, which have schemas of their own; free labels.
    theirs = {"dask-gateway", "jupyterhub", "global", "nodeSelector", "annotations"}

    def objects(part: Any, name: str) -> Iterator[tuple[str, Any]]:
        if isinstance(part, dict):
            if part.get("type") == "object":
                yield name, part
            for key, below in part.items():
                yield from objects(below, key)
        elif isinstance(part, list):
            for below in part:
                yield from objects(below, name)

    found = dict(objects(schema, ""))
    loose = {n for n, p in found.items() if p.get("additionalProperties") is not False}
    assert loose == theirs
    assert len(found) > 15


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


def test_every_value_of_ours_has_its_meaning_beside_it() -> None:
    text = (CHART / "values.yaml").read_text()
    ours = text.split("\njupyterhub:")[0] + "\n"
    lines = ours.splitlines()
    bare = []
    for number, line in enumerate(lines):
        is_key = re.match(r"( *)[a-zA-Z-]+:", line)
        before = lines[number - 1].strip() if number else ""
        if is_key and not before.startswith("#") and "#" not in line:
            bare.append(line.strip())
    # blocks whose values are each explained, and the second of a pair
    explained = {"scheduler:", "workers:", "gateway:", "backend:", "user: mlflow"}
    assert set(bare) <= explained, set(bare) - explained


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


def test_every_pod_is_small_closed_and_watched(rendered: list[dict[str, Any]]) -> None:
    found = dict(templates(rendered))
    assert len(found) >= 4
    for name, made in found.items():
        pod = made["spec"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] is True, name
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"]["drop"] == ["ALL"], name
            resources = container["resources"]
            assert {"cpu", "memory"} == resources["requests"].keys()
            assert {"cpu", "memory"} == resources["limits"].keys()
            if pod.get("restartPolicy") != "Never":
                assert {"livenessProbe", "startupProbe"} <= container.keys(), name
        volumes = {v["name"] for v in pod["volumes"]}
        for container in pod["containers"]:
            assert {m["name"] for m in container["volumeMounts"]} == volumes, name


def test_every_service_may_be_disrupted_by_one_pod_and_reached_by_its_clients(
    rendered: list[dict[str, Any]],
) -> None:
    policies = named(rendered, "NetworkPolicy")
    budgets = named(rendered, "PodDisruptionBudget")
    assert policies["casa-nobody"]["spec"].get("ingress") is None
    for name in named(rendered, "Deployment"):
        (rule, *_) = policies[name]["spec"]["ingress"]
        if name == "casa-lab":  # one person's, who has its token
            assert "from" not in rule
            continue
        assert name in budgets
        clients = [part["podSelector"]["matchLabels"] for part in rule["from"]]
        assert all(clients)


def test_only_mlflow_and_the_backup_reach_the_database(
    tools: Tools, chart: Path
) -> None:
    policy = named(tools.render(chart), "NetworkPolicy")["casa-postgres"]
    (rule,) = policy["spec"]["ingress"]
    clients = {
        part["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        for part in rule["from"]
    }
    assert clients == {"casa-mlflow", "casa-postgres-backup"}


def test_the_way_in_passes_tls_to_the_scheduler_from_the_networks_that_are_named(
    tools: Tools, chart: Path
) -> None:
    way = ("--set", "dask.outside.enabled=true")
    assert "dask.outside.networks" in tools.refusal(chart, *way)
    network = "192.0.2.0/24"
    documents = tools.render(
        chart, *way, "--set", f"dask.outside.networks={{{network}}}"
    )
    service = named(documents, "Service")["casa-dask-outside"]["spec"]
    inside = named(documents, "Service")["casa-dask-scheduler"]["spec"]
    assert service["selector"] == inside["selector"]
    assert [port["port"] for port in service["ports"]] == [8786]
    assert service["loadBalancerSourceRanges"] == [network]
    (rule,) = named(documents, "NetworkPolicy")["casa-dask-scheduler"]["spec"][
        "ingress"
    ]
    assert {"ipBlock": {"cidr": network}} in rule["from"]
    assert rule["ports"] == [{"port": 8786}]
    assert "casa-dask-outside" not in named(tools.render(chart), "Service")


def test_a_restore_is_a_job_while_mlflow_has_no_pods(tools: Tools, chart: Path) -> None:
    file = "mlflow-20261128T030000Z.dump"
    documents = tools.render(chart, "--set", f"postgres.restore={file}")
    (job,) = named(documents, "Job").values()
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][-1] == file
    assert named(documents, "Deployment")["casa-mlflow"]["spec"]["replicas"] == 0
    assert "restore" in tools.refusal(chart, "--set", "postgres.restore=../etc/passwd")


def test_readers_wait_for_a_dead_cache_as_long_as_casas_own(
    tools: Tools, chart: Path
) -> None:
    deployments = named(tools.render(chart, "--set", "lab.enabled=true"), "Deployment")
    expected = {f"XRD_{name.upper()}": str(value) for name, value in WAITING.items()}
    for name in ("casa-lab", "casa-dask-worker"):
        (container,) = deployments[name]["spec"]["template"]["spec"]["containers"]
        found = {one["name"]: one.get("value") for one in container["env"]}
        assert found.items() >= expected.items()


def test_no_secret_is_in_what_is_rendered(rendered: list[dict[str, Any]]) -> None:
    assert named(rendered, "Secret") == {}
    secret = re.compile("password|token|secret|access_key", re.IGNORECASE)
    for _, made in templates(rendered):
        for container in made["spec"]["containers"]:
            for variable in container.get("env", []):
                if secret.search(variable["name"]):
                    assert "value" not in variable, variable["name"]
                    assert "secretKeyRef" in variable["valueFrom"]


def test_images_are_pulled_by_the_digest_that_was_tested(
    tools: Tools, chart: Path
) -> None:
    names = ("lab", "worker", "xcache", "postgres", "triton")
    words = [w for n in names for w in ("--set", f"images.{n}.digest={DIGEST}")]
    documents = tools.render(chart, "--set", "requireDigests=true", *words)
    for name, made in templates(documents):
        for container in made["spec"]["containers"]:
            assert container["image"].endswith(f"@{DIGEST}"), name


def test_pods_are_replaced_when_the_sites_file_changes(
    tools: Tools, chart: Path
) -> None:
    def marks(*words: str) -> dict[str, Any]:
        return {
            name: made["metadata"].get("annotations")
            for name, made in templates(tools.render(chart, *words))
        }

    before, after = marks(), marks("--set", "site.name=ANOTHER")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"casa-dask-scheduler", "casa-dask-worker"}


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


def test_the_charts_it_depends_on_are_exact_versions_with_conditions() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert {d["name"] for d in about["dependencies"]} == {"jupyterhub", "dask-gateway"}
    for needed in about["dependencies"]:
        assert re.fullmatch(r"\d+\.\d+\.\d+", needed["version"])
        assert needed["condition"] == f"{needed['name']}.enabled"


def test_the_caches_image_stands_on_the_base_of_the_others(repository: Path) -> None:
    ours = (CHART.parent / "xcache" / "Dockerfile").read_text()
    (base,) = re.findall(r"^ARG BASE=.+$", ours, re.MULTILINE)
    assert base in (repository / "Dockerfile").read_text().splitlines()
