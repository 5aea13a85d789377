"""The facility's chart: what it renders, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from fsspec_failover.xrootd import WAITING
from support.helm import CHART, Tools, named

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
