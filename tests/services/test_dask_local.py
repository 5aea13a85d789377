from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import dask
import distributed
import pytest
from distributed.core import Status

from casa_env import dask_client, dask_cluster, load_settings
from casa_env.errors import ClusterError, SettingsError
from support.panel import panel_configuration

#: Workers in threads name themselves after this machine's address, which Dask finds by
#: way of a socket that tests may not open.
no_address = pytest.mark.filterwarnings(
    "ignore:Couldn't detect a suitable IP address:RuntimeWarning"
)


def pid() -> int:
    return os.getpid()


def fail() -> None:
    what = "On a worker."
    raise ClusterError(what, looked_at="there", next_step="Go on.")


def test_a_client_is_dasks_own_and_computes_in_other_processes() -> None:
    with dask_client(workers=2) as client:
        assert type(client) is distributed.Client
        assert type(client.cluster) is distributed.LocalCluster
        found = client.run(pid)
        assert len(set(found.values())) == 2
        assert os.getpid() not in found.values()


def test_closing_the_client_stops_the_cluster_that_it_started() -> None:
    client = dask_client(workers=1)
    cluster = client.cluster
    assert cluster is not None
    (worker,) = client.run(pid).values()
    client.close()
    assert cluster.status is Status.closed
    assert not Path(f"/proc/{worker}").exists()


def test_an_error_of_ours_comes_back_whole_from_a_worker() -> None:
    with (
        dask_client(workers=1) as client,
        pytest.raises(ClusterError, match=r"On a worker.") as caught,
    ):
        client.submit(fail).result()
    assert (caught.value.looked_at, caught.value.next_step) == ("there", "Go on.")


@no_address
def test_threads_run_in_the_notebooks_own_process() -> None:
    with dask_client(processes=False, threads=2) as client:
        assert set(client.run(pid).values()) == {os.getpid()}
        assert list(client.nthreads().values()) == [2]


@no_address
def test_on_binder_there_are_threads_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINDER_REQUEST", "v2/gh/a/b/main")
    monkeypatch.setenv("CPU_LIMIT", "1.0")
    monkeypatch.setenv("MEM_LIMIT", str(2**31))
    with dask_client() as client:
        assert set(client.run(pid).values()) == {os.getpid()}
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["nthreads"] == 1
        assert worker["memory_limit"] == 2**31


def test_a_clusters_size_follows_the_session_s_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CPU_LIMIT", "1")
    monkeypatch.setenv("MEM_LIMIT", str(2**31))
    with dask_cluster() as cluster:
        (worker,) = cluster.scheduler_info["workers"].values()
        assert (worker["nthreads"], worker["memory_limit"]) == (1, 2**30)


def test_native_options_win_over_ours() -> None:
    with dask_cluster(workers=2, n_workers=1, name="mine") as cluster:
        assert cluster.name == "mine"
        assert len(cluster.workers) == 1


def test_without_a_dashboard_only_health_checks_are_answered_on_loopback() -> None:
    settings = load_settings(dask_dashboard="", dask_workers=1)
    with dask_cluster(settings=settings) as cluster:
        port = cluster.scheduler_info["services"]["dashboard"]
        page = f"http://127.0.0.1:{port}"
        assert urlopen(f"{page}/health").read() == b"ok"  # noqa: S310 - ours
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{page}/status")  # noqa: S310 - ours
        assert port != 8787


def test_the_dashboard_listens_on_loopback_at_a_free_port() -> None:
    with dask_cluster(workers=1) as one, dask_cluster(workers=1) as other:
        links = {one.dashboard_link, other.dashboard_link}
        assert len(links) == 2
        assert all(link.startswith("http://127.0.0.1:") for link in links)


def test_a_local_cluster_is_started_even_where_dask_names_a_scheduler() -> None:
    with dask.config.set({"scheduler-address": "tcp://127.0.0.1:1"}):
        with dask_client(backend="local", workers=1) as client:
            assert client.submit(sum, [1, 2]).result() == 3
        assert dask.config.get("scheduler-address") == "tcp://127.0.0.1:1"


def test_dasks_configuration_is_left_as_it_was() -> None:
    before = str(dask.config.config)
    with dask_client(workers=1):
        pass
    assert str(dask.config.config) == before


def test_a_cluster_can_be_awaited_as_jupyterlabs_dask_panel_does() -> None:
    async def panel() -> tuple[int, str]:
        cluster = await dask_cluster(asynchronous=True)
        try:
            cluster.scale(1)
            async with distributed.Client(cluster, asynchronous=True) as client:
                result = await client.submit(sum, [1, 2])
            adaptive = cluster.adapt(minimum=0, maximum=2)
            assert (adaptive.minimum, adaptive.maximum) == (0, 2)
            return result, cluster.dashboard_link
        finally:
            await cluster.close()

    result, link = asyncio.run(panel())
    assert result == 3
    assert link.endswith("/status")


def test_the_panels_own_manager_starts_scales_and_stops_a_cluster() -> None:
    async def panel() -> tuple[str, int]:
        # Importing it makes a manager, which needs an event loop.
        from dask_labextension.manager import DaskClusterManager

        async with DaskClusterManager() as manager:
            model = await manager.start_cluster(configuration={"workers": 1})
            assert manager.get_cluster(model["id"])["workers"] == model["workers"]
            await manager.scale_cluster(model["id"], 2)
            cluster = manager._clusters[model["id"]]
            await cluster.wait_for_workers(2)
            workers = manager.get_cluster(model["id"])["workers"]
            await manager.close_cluster(model["id"])
            return model["dashboard_link"], workers

    with dask.config.set(panel_configuration()):
        link, workers = asyncio.run(panel())
    assert link.startswith("http://127.0.0.1:")
    assert workers == 2


def test_an_asynchronous_client_stops_its_cluster() -> None:
    async def compute() -> tuple[int, Status]:
        client = await dask_client(workers=1, asynchronous=True)
        cluster = client.cluster
        assert cluster is not None
        result = await client.submit(sum, [1, 2])
        await client.close()
        return result, cluster.status

    assert asyncio.run(compute()) == (3, Status.closed)


def test_workers_import_what_lies_beside_the_script(tmp_path: Path) -> None:
    (tmp_path / "agc").mkdir()
    (tmp_path / "agc" / "__init__.py").write_text("def double(x): return 2 * x\n")
    script = tmp_path / "analysis.py"
    script.write_text(
        textwrap.dedent("""\
        from casa_env import dask_client
        from agc import double

        if __name__ == "__main__":
            with dask_client(workers=1) as client:
                print(client.submit(double, 21).result())
        """)
    )
    assert run(script, cwd=tmp_path).stdout == "42\n"


def test_a_script_without_a_main_guard_is_told_about_it(tmp_path: Path) -> None:
    script = tmp_path / "analysis.py"
    script.write_text("from casa_env import dask_client\ndask_client(workers=1)\n")
    done = run(script, cwd=tmp_path)
    assert done.returncode != 0
    assert "below `if __name__ == '__main__':`" in done.stderr


def run(script: Path, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [sys.executable, str(script)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_back_end_that_does_not_exist_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="the nearest is 'slurm'"):
        dask_cluster(backend="slrum")
