"""The dashboard asks for figures that the services give; Dask's are in test_pods.py."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import requests

from support.dashboard import asked, given
from support.helm import Tools, named
from support.processes import free_port
from support.triton import triton

MODEL = """\
name: "nothing" backend: "python" max_batch_size: 1
input [{ name: "x" data_type: TYPE_FP32 dims: [1] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [1] }]
instance_group [{ count: 1 kind: KIND_CPU }]
"""

WATCHED = ("--set", "monitoring.namespace=monitoring")


def test_the_hub_gives_what_is_asked_of_it() -> None:
    code = "import jupyterhub.metrics, prometheus_client as p; "
    code += "print(p.generate_latest().decode())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    wanted = {name for name in asked() if name.startswith("jupyterhub_")}
    assert len(wanted) >= 2
    assert {name.removesuffix("_bucket") for name in wanted} <= given(done.stdout)


def test_triton_gives_what_is_asked_of_it(tmp_path: Path) -> None:
    repository, port = tmp_path / "models", free_port()
    (repository / "nothing" / "1").mkdir(parents=True)
    (repository / "nothing" / "config.pbtxt").write_text(MODEL)
    code = "class TritonPythonModel:\n    def execute(self, them):\n        return []\n"
    (repository / "nothing" / "1" / "model.py").write_text(code)
    options = ["--allow-metrics=true", "--metrics-address=127.0.0.1"]
    options += [f"--metrics-port={port}", "--allow-gpu-metrics=false"]
    with triton(repository, tmp_path / "triton", options=options):
        page = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    wanted = {name for name in asked() if name.startswith("nv_")}
    assert len(wanted) >= 3
    assert wanted <= given(page)


def test_prometheus_is_told_of_pods_that_it_may_reach(
    tools: Tools, chart: Path
) -> None:
    documents = tools.render(chart, *WATCHED)
    policies = named(documents, "NetworkPolicy")
    watched = {}
    for name, deployment in named(documents, "Deployment").items():
        template = deployment["spec"]["template"]
        marks = template["metadata"].get("annotations", {})
        if "prometheus.io/port" in marks:
            watched[name] = int(marks["prometheus.io/port"])
            (container,) = template["spec"]["containers"]
            assert watched[name] in {p["containerPort"] for p in container["ports"]}
            rules = policies[name]["spec"]["ingress"]
            assert {"port": watched[name]} in rules[-1]["ports"]
            assert "namespaceSelector" in rules[-1]["from"][0]
    assert set(watched) == {"casa-dask-scheduler", "casa-dask-worker", "casa-triton"}


def test_the_dashboard_is_where_grafana_looks(tools: Tools, chart: Path) -> None:
    documents = tools.render(chart, *WATCHED)
    dashboard = named(documents, "ConfigMap")["casa-dashboard"]
    assert dashboard["metadata"]["namespace"] == "monitoring"
    panels = json.loads(dashboard["data"]["casa.json"])["panels"]
    assert len({panel["title"] for panel in panels}) == len(panels) >= 8
    assert "casa-dashboard" not in named(tools.render(chart), "ConfigMap")
